"""A package travels as one file: whole, or thin and merged again, and is live only when it is the very same model."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ggship.bundles.container import open_bundle, write_bundle
from ggship.bundles.manifest import Manifest, Rebuild
from ggship.gguf.quantize import best_kernels
from ggship.package import read_package

MODEL = "model.q8_0.gguf"


@pytest.fixture
def packed(shop: Any) -> Any:
    """The shop with a package of law, and thin.ggship of it."""
    shop.package()
    assert shop.ggship("export", shop.root / "out/law", "-o", shop.root / "thin.ggship", "--thin") == 0
    return shop


def bring(shop: Any, *arguments: object, name: str = "there") -> int:
    code: int = shop.ggship("import", shop.root / "thin.ggship", "--name", name, "--host", shop.server.url, *arguments)
    return code


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def changed(path: Path, **recipe: Any) -> None:
    """The bundle again, with another recipe: as if it had been made on a machine that computes otherwise."""
    bundle = open_bundle(path)
    assert bundle.manifest.rebuild is not None
    manifest = replace(bundle.manifest, rebuild=replace(bundle.manifest.rebuild, **recipe))
    whole = path.read_bytes()
    write_bundle(path, manifest, b"", lambda f: [whole[bundle.starts[f.name] : bundle.starts[f.name] + f.bytes]])


def recipe_of(path: Path) -> Rebuild:
    rebuild = open_bundle(path).manifest.rebuild
    assert rebuild is not None
    return rebuild


def test_a_thin_bundle_becomes_the_same_model_live(packed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made = packed.root / "out/law"
    whole = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    assert (packed.root / "thin.ggship").stat().st_size < whole - (made / MODEL).stat().st_size * 2 // 3
    assert MODEL not in open_bundle(packed.root / "thin.ggship").starts
    capsys.readouterr()
    assert bring(packed, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    there = packed.root / "dist/there"
    assert sha256(there / MODEL) == sha256(made / MODEL)
    assert (told["changed"], told["rebuilt"], told["prompt"]) == (
        True,
        best_kernels().name,
        "11 of 11 conversations as in training",
    )
    assert packed.server.models["there:latest"].base == sha256(made / MODEL)
    assert not [name for name in packed.server.models if "ggship" in name]
    document = read_package(there).document
    assert (document["name"], document["model"]["host"]) == ("there", packed.server.url)
    assert document["imported"]["name"] == "law"
    assert packed.ggship("verify", "there") == 0


def test_again_changes_nothing(packed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert bring(packed) == 0
    before = len([path for path in packed.server.paths("POST") if path in ("/api/create", "/api/copy")])
    assert bring(packed) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert len([path for path in packed.server.paths("POST") if path in ("/api/create", "/api/copy")]) == before


def test_a_whole_bundle_needs_no_base(shop: Any) -> None:
    shop.package()
    for name in ("one", "two"):
        assert shop.ggship("export", "law", "-o", shop.root / f"{name}.ggship") == 0
    assert (shop.root / "one.ggship").read_bytes() == (shop.root / "two.ggship").read_bytes()
    shop.base.unlink()
    assert shop.ggship("import", "one.ggship", "--runtime", "none", "--name", "there", "--out", "here") == 0
    assert sha256(shop.root / "here" / MODEL) == sha256(shop.root / "out/law" / MODEL)


SCRIPT = """
import os, sys
cores = set(sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
os.sched_setaffinity(0, cores)
from ggship.cli import main
main(["import", "thin.ggship", "--runtime", "none", "--base", "base.gguf", "--out", sys.argv[2], "--name", "x"])
"""


def test_any_cores_threads_and_blas_kernel_rebuild_the_same_bytes(packed: Any) -> None:
    """The import itself compares: it ends well only where the bytes are those that were made here."""
    ran = 0
    for core, threads, cores in (("Haswell", 1, 1), ("Nehalem", 2, 2), ("Zen", 4, 2), ("SkylakeX", 2, 1)):
        told = {"OPENBLAS_CORETYPE": core, "OPENBLAS_NUM_THREADS": str(threads)}
        command = [sys.executable, "-c", SCRIPT, str(cores), f"there-{core}"]
        done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, check=False)
        if done.returncode < 0:  # this processor has no such instructions
            continue
        assert done.returncode == 0, done.stderr
        assert "the same bytes" in done.stdout
        ran += 1
    assert ran > 1


def test_the_base_that_ollama_holds_is_found(packed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    packed.serve_base("whatever")
    packed.base.unlink()
    assert bring(packed) == 0
    assert "is live" in capsys.readouterr().out


def test_without_the_base_it_says_what_was_looked_at(packed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    packed.base.unlink()
    assert bring(packed) == 1
    told = capsys.readouterr().err
    assert "the base that this bundle is merged into is not here: base.gguf" in told
    assert recipe_of(packed.root / "thin.ggship").base_sha256 in told
    assert "Ollama: nothing" in told
    assert "there:latest" not in packed.server.models
    assert not (packed.root / "dist/there").exists()


def test_a_blob_that_is_not_what_its_name_says_is_no_base(
    packed: Any, tiny_base: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    packed.serve_base("whatever")
    packed.base.unlink()
    (blob,) = (packed.root / "blobs").iterdir()
    tiny_base(blob, seed=3)
    assert bring(packed) == 1
    assert "has another sha256" in capsys.readouterr().err


def test_a_base_of_the_same_name_with_other_bytes_is_told(
    shop: Any, tiny_base: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.serve_base("tiny")
    shop.package(base="ollama:tiny")
    assert shop.ggship("export", "law", "-o", shop.root / "thin.ggship", "--thin") == 0
    for blob in (shop.root / "blobs").iterdir():
        blob.unlink()
    digest = shop.server.hold("tiny", b"rewritten")
    assert bring(shop) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert f"Ollama's tiny:latest is another file: sha256 {digest}" in told
    assert "ollama pull tiny" in told


def test_another_base_is_refused(packed: Any, tiny_base: Any, capsys: pytest.CaptureFixture[str]) -> None:
    other = tiny_base(packed.root / "other.gguf", seed=5)
    assert bring(packed, "--base", other) == 4
    assert "another base than the bundle was made with" in capsys.readouterr().err


def test_a_tensor_that_differs_is_named_and_nothing_live_changes(
    packed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring(packed) == 0
    live = packed.server.models["there:latest"]
    recipe = recipe_of(packed.root / "thin.ggship")
    name = "blk.1.ffn_up.weight"
    tensors = {**recipe.tensors, name: (recipe.tensors[name][0], "7" * 64)}
    changed(packed.root / "thin.ggship", sha256="7" * 64, tensors=tensors)
    assert bring(packed) == 4
    told = capsys.readouterr().err
    assert "is not the one that was proven" in told
    assert f"1 of {len(tensors)} pieces differ: {name}" in " ".join(told.split())
    assert packed.server.models["there:latest"] == live
    assert not list((packed.root / "dist").rglob(f".there.ggship/**/{MODEL}*"))


def test_other_types_are_named_before_anything_is_merged(packed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    changed(packed.root / "thin.ggship", quant="Q4_0")
    assert bring(packed) == 4
    assert "blk.0.attn_q.weight: Q4_0, made was Q8_0" in " ".join(capsys.readouterr().err.split())


def test_a_model_that_was_forced_is_rebuilt_too(shop: Any) -> None:
    """Forced types are told by the types themselves; what was refused then is not refused once more."""
    assert shop.ggship("package", shop.run, "--name", "law", "--base", shop.base, "--out", "q4", "--runtime", "none",
                       "--quant", "Q4_0") == 0  # fmt: skip
    small = shop.root / "q4" / "model.q4_0.gguf"
    assert shop.ggship("package", shop.run, "--name", "low", "--base", small, "--out", "low", "--runtime", "none",
                       "--quant", "Q4_0", "--force") == 0  # fmt: skip
    assert shop.ggship("export", "low", "-o", "low.ggship", "--thin") == 0
    assert shop.ggship("import", "low.ggship", "--runtime", "none", "--name", "again", "--out", "again") == 0
    assert sha256(shop.root / "again/model.q4_0.gguf") == sha256(shop.root / "low/model.q4_0.gguf")


def test_a_server_that_renders_another_prompt_keeps_what_it_has(
    packed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring(packed) == 0
    live = packed.server.models["there:latest"]
    changed(packed.root / "thin.ggship", kernels="another machine")  # another bundle, so that there is something to do
    packed.server.fail("/api/chat", status=200, times=-1,
                       body=json.dumps({"message": {}, "_debug_info": {"rendered_template": "<x>"}}))  # fmt: skip
    assert bring(packed) == 4
    assert "reads another prompt than training wrote" in capsys.readouterr().err
    assert packed.server.models["there:latest"] == live
    assert not [name for name in packed.server.models if "ggship" in name]


def test_a_server_that_fails_keeps_what_it_has(packed: Any) -> None:
    assert bring(packed) == 0
    live = packed.server.models["there:latest"]
    changed(packed.root / "thin.ggship", kernels="another machine")
    packed.server.fail("/api/create", status=500, body='{"error":"disk full"}')
    assert bring(packed) == 1
    assert packed.server.models["there:latest"] == live
    assert read_package(packed.root / "dist/there").document["imported"]["rebuilt"] == best_kernels().name
    assert bring(packed) == 0


def test_what_failed_goes_nowhere_unless_forced(packed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = open_bundle(packed.root / "thin.ggship")
    document = json.loads((packed.root / "out/law/ggship.json").read_text())
    document["eval"] = {"passed": False, "failures": ["pass_rate >= 0.8"]}
    raw = json.dumps(document).encode()
    files = [
        replace(file, bytes=len(raw), sha256=hashlib.sha256(raw).hexdigest()) if file.name == "ggship.json" else file
        for file in bundle.manifest.files
    ]
    whole = (packed.root / "thin.ggship").read_bytes()

    def read(file: Any) -> list[bytes]:
        start = bundle.starts[file.name]
        return [raw if file.name == "ggship.json" else whole[start : start + file.bytes]]

    manifest = Manifest(bundle.manifest.name, bundle.manifest.ggship, tuple(files), bundle.manifest.rebuild)
    write_bundle(packed.root / "thin.ggship", manifest, b"", read)
    assert bring(packed) == 3
    assert "pass_rate >= 0.8" in capsys.readouterr().err
    assert "there:latest" not in packed.server.models


def test_no_room_is_found_out_before_the_first_byte(packed: Any) -> None:
    from types import SimpleNamespace

    from ggship.bundles import BringOptions
    from ggship.bundles import bring as library
    from ggship.errors import NoRoom
    from ggship.needs import Machine

    full = Machine(disk=lambda path: SimpleNamespace(free=1000))
    with pytest.raises(NoRoom, match="not enough room"):
        library(BringOptions(packed.root / "thin.ggship", "there"), runtime=None, machine=full)
    assert not (packed.root / "dist/there").exists()


def test_an_adapter_package_is_thin_already(old_shop: Any, capsys: pytest.CaptureFixture[str]) -> None:
    old_shop.serve_base("tiny")
    old_shop.package(base="ollama:tiny")
    assert old_shop.ggship("export", "law", "-o", "law.ggship", "--thin") == 4
    assert "leave --thin out" in capsys.readouterr().err
    assert old_shop.ggship("export", "law", "-o", "law.ggship") == 0
    command = ("import", "law.ggship", "--name", "there", "--host", old_shop.server.url)
    assert old_shop.ggship(*command) == 0
    assert old_shop.server.models["there:latest"].adapter == sha256(old_shop.root / "out/law/adapter.gguf")


def test_the_base_under_an_adapter_is_told_by_its_weights_and_not_by_its_name(
    old_shop: Any, make_server: Any, tiny_base: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    old_shop.serve_base("tiny")
    old_shop.package(base="ollama:tiny")
    assert old_shop.ggship("export", "law", "-o", "law.ggship") == 0
    other = make_server("0.32.14")
    command = ("import", "law.ggship", "--name", "there", "--host", other.url)
    other.hold("tiny", tiny_base(old_shop.root / "other.gguf", seed=9).read_bytes())
    assert old_shop.ggship(*command) == 1
    assert "the base that the adapter stands on is not on this server: tiny" in capsys.readouterr().err
    assert set(other.models) == {"tiny:latest"}
    other.hold("tiny-of-another-name", old_shop.base.read_bytes())
    assert old_shop.ggship(*command) == 0
    assert other.models["there:latest"].base == sha256(old_shop.base)


def test_an_export_that_cannot_be_written(shop: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shop.package()
    assert shop.ggship("export", "law", "-o", shop.root) == 2
    assert shop.ggship("export", "law", "-o", shop.root / "nowhere/law.ggship") == 2
    (shop.root / "out/law/adapter.gguf").write_bytes(b"GGUF")
    assert shop.ggship("export", "law", "-o", "law.ggship") == 1
    assert "adapter.gguf is not what was packed" in " ".join(capsys.readouterr().err.split())
    assert not (shop.root / "law.ggship").exists()
