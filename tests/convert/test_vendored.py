"""The vendored converter: filled by scripts/vendor, checked by `ggship doctor`."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ggship.convert.vendored import vendor_status, vendored_llama_cpp
from ggship.errors import BadFile, ToolFailed

SCRIPT = Path(__file__).parents[2] / "scripts" / "vendor"
TAKEN = {
    "LICENSE": "MIT",
    "convert_lora_to_gguf.py": "print('lora')",
    "convert_hf_to_gguf.py": "print('hf')",
    "conversion/__init__.py": "",
    "gguf-py/gguf/__init__.py": "",
    "gguf-py/LICENSE": "MIT",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with the script, an empty vendor folder, and a source package that looks like the real one."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "vendor").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts" / "vendor")
    left = {"ggml/ggml.c": "int main;", "gguf-py/tests/test_quants.py": "", "conversion/sub/x.py": ""}
    inside = {f"vendor/llama.cpp/{name}": text for name, text in {**TAKEN, **left}.items()}
    inside["CHANGELOG.md"] = "## [0.3.36]\n\n- feat: update llama.cpp to ggml-org/llama.cpp@abc123def\n\n## [0.3.35]\n"
    with tarfile.open(tmp_path / "package.tar.gz", "w:gz") as tar:
        for name, text in inside.items():
            member = tarfile.TarInfo(f"llama_cpp_python-0.3.36/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return tmp_path


def vendor(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "scripts" / "vendor"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_filling_takes_what_is_needed_and_no_more(checkout):
    done = vendor(checkout, "--lock", "--from", str(checkout / "package.tar.gz"))
    assert done.returncode == 0, done.stderr
    folder = checkout / "vendor" / "llama.cpp"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == set(TAKEN)
    lock = json.loads((checkout / "vendor" / "llama.cpp.lock.json").read_text())
    assert lock["commit"] == "abc123def"
    assert set(lock["files"]) == set(TAKEN)
    status = vendor_status(checkout / "vendor")
    assert (status.present, status.whole, status.bad_files) == (True, True, ())
    assert "abc123def" in status.release
    assert vendored_llama_cpp(checkout / "vendor") == folder


def test_check_says_whether_all_is_whole(checkout):
    vendor(checkout, "--lock", "--from", str(checkout / "package.tar.gz"))
    assert vendor(checkout, "--check").returncode == 0
    (checkout / "vendor" / "llama.cpp" / "conversion" / "__init__.py").write_text("import os")
    done = vendor(checkout, "--check")
    assert done.returncode == 1
    assert "conversion/__init__.py" in done.stderr
    assert vendor_status(checkout / "vendor").bad_files == ("conversion/__init__.py",)
    assert not vendor_status(checkout / "vendor").whole


def test_filling_again_repairs(checkout):
    vendor(checkout, "--lock", "--from", str(checkout / "package.tar.gz"))
    (checkout / "vendor" / "llama.cpp" / "LICENSE").unlink()
    assert vendor(checkout, "--from", str(checkout / "package.tar.gz")).returncode == 0
    assert vendor_status(checkout / "vendor").whole
    assert [path.name for path in (checkout / "vendor").iterdir() if ".partial" in path.name] == []


def test_another_source_package_is_refused_and_nothing_changes(checkout):
    vendor(checkout, "--lock", "--from", str(checkout / "package.tar.gz"))
    (checkout / "vendor" / "llama.cpp" / "LICENSE").unlink()
    other = checkout / "other.tar.gz"
    other.write_bytes((checkout / "package.tar.gz").read_bytes() + b"\0")
    done = vendor(checkout, "--from", str(other))
    assert done.returncode == 1
    assert "not the file that the lock names" in done.stderr
    assert not (checkout / "vendor" / "llama.cpp" / "LICENSE").exists()
    assert (checkout / "vendor" / "llama.cpp" / "convert_lora_to_gguf.py").exists()


def test_an_empty_vendor_folder_is_named_with_what_to_do(checkout):
    with pytest.raises(ToolFailed) as error:
        vendored_llama_cpp(checkout / "vendor")
    assert "scripts/vendor" in error.value.hint
    with pytest.raises(BadFile, match="lock"):
        vendor_status(checkout / "vendor")


def test_the_committed_lock_names_a_release_and_every_file_it_takes():
    lock = json.loads((SCRIPT.parent.parent / "vendor" / "llama.cpp.lock.json").read_text())
    assert lock["commit"]
    assert lock["source"]["package"] == "llama-cpp-python"
    assert len(lock["source"]["sha256"]) == 64
    assert {"LICENSE", "convert_lora_to_gguf.py", "conversion/llama.py", "gguf-py/gguf/__init__.py"} <= set(
        lock["files"]
    )
    assert all(len(digest) == 64 for digest in lock["files"].values())
