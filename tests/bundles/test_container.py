"""A bundle is one certain row of bytes: anything else in its place is refused, whatever it would do when unpacked."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ggship.bundles.container import header, open_bundle, unpack, write_bundle
from ggship.bundles.manifest import BundleFile, Manifest
from ggship.errors import BadFile, Damaged, GgshipError

CONTENTS = {"Modelfile": b"FROM ./model.gguf\n", "eval/report.json": b"{}" * 700, "ggship.json": b'{"name": "law"}'}


def entry(name: str, data: bytes) -> BundleFile:
    return BundleFile(name, len(data), hashlib.sha256(data).hexdigest())


def manifest_of(contents: dict[str, bytes]) -> Manifest:
    return Manifest("law", "0.1.0", tuple(entry(name, data) for name, data in contents.items()))


def pack(out: Path, contents: dict[str, bytes] = CONTENTS, signature: bytes = b"") -> Path:
    def read(file: BundleFile) -> Iterator[bytes]:
        yield contents[file.name][:5]
        yield contents[file.name][5:]

    write_bundle(out, manifest_of(contents), signature, read)
    return out


def read_all(path: Path, folder: Path) -> None:
    unpack(open_bundle(path), folder)


def written(document: dict[str, object]) -> bytes:
    def text(value: dict[str, object]) -> bytes:
        return (json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()

    document.pop("check")
    return text({**document, "check": hashlib.sha256(text(document)).hexdigest()})


def forged(path: Path, rows: list[dict[str, object]], blocks: bytes = b"") -> Path:
    """A bundle whose manifest says what no ggship writes."""
    document = json.loads(manifest_of(CONTENTS).encode())
    document["files"] = [*document["files"], *rows]
    raw = written(document)
    data = header("bundle.json", len(raw)) + raw + bytes(-len(raw) % 512) + blocks
    path.write_bytes(data + bytes(-len(data) % 10240 or 10240))
    return path


def test_what_was_packed_comes_out(tmp_path: Path) -> None:
    read_all(pack(tmp_path / "a.ggship", signature=b"{}"), tmp_path / "out")
    found = {path.relative_to(tmp_path / "out").as_posix(): path for path in (tmp_path / "out").rglob("*.*")}
    assert (tmp_path / "out/Modelfile").read_bytes() == CONTENTS["Modelfile"]
    assert set(found) == {"eval/report.json", "ggship.json"}
    assert open_bundle(tmp_path / "a.ggship").signature == b"{}"


def test_the_same_content_gives_the_same_bytes_and_any_tar_can_read_them(tmp_path: Path) -> None:
    first = pack(tmp_path / "a.ggship")
    before = os.umask(0o077)
    try:
        second = pack(tmp_path / "b.ggship")
    finally:
        os.umask(before)
    assert first.read_bytes() == second.read_bytes()
    # These bytes are what other machines and later versions must give too.
    assert hashlib.sha256(first.read_bytes()).hexdigest()[:16] == "1caa106dbe2676b9"
    with tarfile.open(first) as archive:
        assert [member.name for member in archive] == ["bundle.json", *CONTENTS]
        assert {(member.mtime, member.uid, member.uname) for member in archive} == {(0, 0, "")}


def test_one_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    whole = pack(tmp_path / "a.ggship", signature=b"x" * 30).read_bytes()
    signed = range(whole.index(b"x" * 30), whole.index(b"x" * 30) + 30)  # is held against a key, not a digest
    for at in {*range(0, len(whole), 29), *range(len(whole) - 600, len(whole), 13)} - set(signed):
        changed = tmp_path / "changed.ggship"
        changed.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(GgshipError):
            read_all(changed, tmp_path / "out")


def test_a_file_is_there_only_when_its_digest_was_right(tmp_path: Path) -> None:
    whole = pack(tmp_path / "a.ggship").read_bytes()
    (tmp_path / "a.ggship").write_bytes(whole.replace(b"FROM ./model", b"FROM ./other"))
    with pytest.raises(Damaged, match="Modelfile is not what was packed"):
        read_all(tmp_path / "a.ggship", tmp_path / "out")
    assert not (tmp_path / "out/Modelfile").exists()


def test_a_bundle_that_is_cut_off_anywhere(tmp_path: Path) -> None:
    whole = pack(tmp_path / "a.ggship").read_bytes()
    for count in range(0, len(whole), 509):
        (tmp_path / "cut.ggship").write_bytes(whole[:count])
        with pytest.raises(BadFile):
            read_all(tmp_path / "cut.ggship", tmp_path / "out")
    (tmp_path / "cut.ggship").write_bytes(whole[:-1])
    with pytest.raises(BadFile, match="cut off"):
        open_bundle(tmp_path / "cut.ggship")
    (tmp_path / "cut.ggship").write_bytes(whole + bytes(512))
    with pytest.raises(BadFile, match="more in the bundle"):
        open_bundle(tmp_path / "cut.ggship")


@pytest.mark.parametrize(
    "name",
    [
        "../law",
        "/etc/passwd",
        "eval/../../x",
        "C:/x",
        "a\\b",
        "",
        ".",
        "..",
        ".ssh/id",
        "a//b",
        "a/",
        "modelfile",  # the same file as Modelfile where names have no case
        "ggship.json/x",
        "x" * 200,
        "a/b/c/d/e",
        "new\nline",
        "über",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    path = forged(tmp_path / "a.ggship", [{"name": name, "bytes": 1, "sha256": "0" * 64}])
    with pytest.raises(BadFile, match=r"bundle\.json"):
        read_all(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", [1 << 45, 1 << 62, -1, True, "7", 1.5, None])
def test_a_bundle_that_would_unfold_is_refused_before_anything_is_written(tmp_path: Path, count: object) -> None:
    path = forged(tmp_path / "a.ggship", [{"name": "bomb", "bytes": count, "sha256": "0" * 64}])
    with pytest.raises(BadFile):
        read_all(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_manifest_of_many_files_or_of_depth_without_end_is_refused(tmp_path: Path) -> None:
    rows = [{"name": f"f{number}", "bytes": 0, "sha256": "0" * 64} for number in range(2000)]
    with pytest.raises(BadFile, match="files"):
        open_bundle(forged(tmp_path / "a.ggship", rows))  # type: ignore[arg-type]
    raw = b'{"files":' * 100_000
    (tmp_path / "b.ggship").write_bytes(header("bundle.json", len(raw)) + raw + bytes(-len(raw) % 512 + 1024))
    with pytest.raises(BadFile, match="not understood"):
        open_bundle(tmp_path / "b.ggship")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, b"S", b"x"])
def test_what_is_no_plain_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    """A valid tar with the very names and sizes, but one of them is a link, a device, sparse, or an extension."""
    path = pack(tmp_path / "a.ggship")
    whole = path.read_bytes()
    info = tarfile.TarInfo("Modelfile")
    info.size, info.type, info.linkname = len(CONTENTS["Modelfile"]), kind, "/etc/passwd"
    evil = info.tobuf(tarfile.GNU_FORMAT)[:512]
    path.write_bytes(whole.replace(header("Modelfile", info.size), evil))
    with pytest.raises(BadFile, match="not a plain file"):
        read_all(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_archive_of_another_program(tmp_path: Path) -> None:
    for mode in ("w", "w:gz"):
        with tarfile.open(tmp_path / "a.tar", mode) as archive:
            (tmp_path / "x").write_text("x")
            archive.add(tmp_path / "x", "bundle.json")
        with pytest.raises(BadFile, match="not a bundle of ggship"):
            open_bundle(tmp_path / "a.tar")


def test_what_changed_while_it_was_packed_leaves_the_old_bundle_in_place(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.ggship")
    before = path.read_bytes()
    with pytest.raises(Damaged, match="Modelfile"):
        write_bundle(path, manifest_of(CONTENTS), b"", lambda file: [b"other"])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_bundle_of_a_newer_ggship_says_so(tmp_path: Path) -> None:
    raw = manifest_of(CONTENTS).encode().replace(b'"schema": 1', b'"schema": 2')
    (tmp_path / "a.ggship").write_bytes(header("bundle.json", len(raw)) + raw + bytes(-len(raw) % 512 + 1024))
    with pytest.raises(BadFile, match="newer ggship"):
        open_bundle(tmp_path / "a.ggship")


def test_sizes_above_eight_gigabytes_have_a_header(tmp_path: Path) -> None:
    for size in (0, 1, (8 << 30) - 1, 8 << 30, 1 << 45):
        info = tarfile.TarInfo.frombuf(header("model.gguf", size), "utf-8", "strict")
        assert (info.size, info.name, info.isreg()) == (size, "model.gguf", True)
