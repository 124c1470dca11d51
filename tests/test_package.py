"""A package says what it is, and one flipped byte in any file is found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggship.errors import BadFile, Damaged, UnknownName
from ggship.package import EVAL_FILES, SUMS, read_package, verify_files, write_sums
from ggship.place import DOCUMENT
from ggship.releases import Known, find_package, load_package, remember

DOC = {
    "schema": 1,
    "ggship": "0.1.0",
    "name": "law",
    "strategy": "adapter",
    "plan": {},
    "run": {},
    "base": {},
    "adapter": {"file": "adapter.gguf"},
    "merge": None,
    "prompt": {},
    "model": {"runtime": "ollama", "host": "http://127.0.0.1:11434", "name": "law", "digest": "ab"},
    "eval": {"passed": True},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import hashlib

    folder = tmp_path / "law"
    (folder / "eval").mkdir(parents=True)
    (folder / "adapter.gguf").write_bytes(b"GGUF and so on")
    (folder / "eval" / "report.json").write_text("{}")
    digest = hashlib.sha256(b"GGUF and so on").hexdigest()
    (folder / DOCUMENT).write_text(json.dumps({**DOC, "adapter": {"file": "adapter.gguf", "sha256": digest}}))
    (folder / SUMS).write_text(write_sums(folder))
    return folder


def test_a_package_as_it_was_made_is_whole(folder: Path) -> None:
    assert verify_files(read_package(folder)).files == 3


@pytest.mark.parametrize("name", ["adapter.gguf", "eval/report.json", DOCUMENT])
def test_one_flipped_bit_in_any_file_is_found(folder: Path, name: str) -> None:
    info = read_package(folder)
    whole = (folder / name).read_bytes()
    for position in range(0, len(whole), 7):
        (folder / name).write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(Damaged, match=name):
            verify_files(info)


def test_a_flipped_bit_in_the_checksums_is_found(folder: Path) -> None:
    info = read_package(folder)
    whole = (folder / SUMS).read_bytes()
    for position in range(0, len(whole), 5):
        (folder / SUMS).write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(Damaged):
            verify_files(info)


@pytest.mark.parametrize("other", [b"\x0b", b"\r", b"\x85", b"\r\n", b"\n\n", b""])
def test_checksums_that_only_read_the_same_are_not_what_was_made(folder: Path, other: bytes) -> None:
    info = read_package(folder)
    whole = (folder / SUMS).read_bytes()
    for position in (whole.index(b"\n"), len(whole) - 1):
        (folder / SUMS).write_bytes(whole[:position] + other + whole[position + 1 :])
        with pytest.raises(Damaged, match=SUMS):
            verify_files(info)


def test_checksums_in_a_folder_below_are_a_file_like_any_other(folder: Path) -> None:
    (folder / "eval" / SUMS).write_text("nothing that was made")
    with pytest.raises(Damaged, match=f"eval/{SUMS}: is not in {SUMS}"):
        verify_files(read_package(folder))


def test_a_link_in_the_place_of_a_file_is_found(folder: Path) -> None:
    (folder / "adapter.gguf").rename(folder.parent / "elsewhere.gguf")
    (folder / "adapter.gguf").symlink_to("../elsewhere.gguf")
    with pytest.raises(Damaged, match=r"adapter.gguf: is a link"):
        verify_files(read_package(folder))


def test_a_missing_and_an_added_file_are_both_named(folder: Path) -> None:
    (folder / "adapter.gguf").unlink()
    (folder / "extra.bin").write_bytes(b"?")
    with pytest.raises(Damaged) as caught:
        verify_files(read_package(folder))
    assert "adapter.gguf: is missing" in caught.value.where
    assert "extra.bin: is not in SHA256SUMS" in caught.value.where


def test_a_document_of_a_newer_ggship_is_not_guessed_at(folder: Path) -> None:
    (folder / DOCUMENT).write_text(json.dumps({**DOC, "schema": 2}))
    with pytest.raises(BadFile, match="newer"):
        read_package(folder)


@given(st.binary(max_size=200))
def test_any_bytes_as_a_document_are_an_error_of_ours(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / DOCUMENT).write_bytes(content)
        with pytest.raises(BadFile):
            read_package(Path(name))


def test_a_name_finds_its_package_from_anywhere(folder: Path) -> None:
    remember(Known(name="law", path=str(folder), base=""))
    assert find_package("law") == folder
    assert load_package(str(folder)).name == "law"


def test_what_an_older_ggship_remembered_is_still_known(folder: Path, own_state: Path) -> None:
    (own_state / "packages").mkdir()
    old = {"name": "law", "path": str(folder), "base": "", "host": "http://127.0.0.1:11434"}
    (own_state / "packages" / "law.json").write_text(json.dumps(old))
    assert find_package("law") == folder


def test_the_names_of_reports_are_the_same_on_both_sides() -> None:
    from ggship.evals.write import FILES

    assert tuple(f"eval/{name}" for name in FILES) == EVAL_FILES


def test_an_unknown_name_says_what_is_known(folder: Path) -> None:
    remember(Known(name="law-helper", path=str(folder), base=""))
    with pytest.raises(UnknownName) as caught:
        find_package("law-helpr")
    assert "law-helper" in caught.value.where
    assert "did you mean law-helper?" in caught.value.hint
