"""The package on disk: its document, its checksums, and the proof that nothing in it has changed."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggship.digests import sha256_file, write_text
from ggship.errors import BadFile, Damaged
from ggship.place import DOCUMENT

SCHEMA = 1
SUMS = "SHA256SUMS"
MODELFILE = "Modelfile"
CARD = "README.md"
ADAPTER = "adapter.gguf"
BASE = "base.gguf"
EVAL_FILES = ("eval/suite.yaml", "eval/report.json", "eval/report.html", "eval/junit.xml")

# Where in the document -> what must stand there. The JSON Schema in templates/schemas says the same, in full.
_REQUIRED: Mapping[str, type | tuple[type, ...]] = {
    "name": str,
    "ggship": str,
    "strategy": str,
    "run": dict,
    "base": dict,
    "adapter": (dict, type(None)),
    "prompt": dict,
    "model": dict,
    "eval": dict,
}


@dataclass(frozen=True, slots=True)
class PackageInfo:
    """A package as its document tells it. `document` is ggship.json, checked."""

    path: Path
    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The public name that the package was made for."""
        return str(self.document["name"])

    @property
    def runtime(self) -> str:
        """One of ollama, embedded, none."""
        return str(self.document["model"].get("runtime", "none"))

    @property
    def host(self) -> str | None:
        """The server it was made live on; None where no server was involved."""
        host = self.document["model"].get("host")
        return str(host) if host else None

    @property
    def live_name(self) -> str:
        """The model's name on that server."""
        return str(self.document["model"].get("name") or self.name)

    @property
    def digest(self) -> str | None:
        """The model's digest on that server."""
        digest = self.document["model"].get("digest")
        return str(digest) if digest else None

    @property
    def passed(self) -> bool:
        """Whether the proof held when the package was made."""
        return self.document["eval"].get("passed") is True

    def file(self, name: str) -> Path | None:
        """A file of the package; None where it has none of that name."""
        path = self.path / name
        return path if path.is_file() else None


def read_package(path: Path) -> PackageInfo:
    """Read a package's document. Raises BadFile where it is none, or is of a newer ggship."""
    document_path = path / DOCUMENT
    try:
        document = json.loads(document_path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadFile(
            "this is not a package of ggship",
            where=f"{document_path} is missing",
            hint="ggship package RUN --name NAME",
        ) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise BadFile("the package's document is damaged", where=f"{document_path}: {error}") from error
    problem = _problem(document)
    if problem:
        raise BadFile("the package's document is not understood", where=f"{document_path}: {problem}")
    return PackageInfo(path, document)


def _problem(document: Any) -> str:
    if not isinstance(document, dict):
        return "not a JSON object"
    schema = document.get("schema")
    if not isinstance(schema, int):
        return "`schema` is missing"
    if schema > SCHEMA:
        return f"schema {schema} is newer than this ggship knows ({SCHEMA}): update ggship"
    for key, kind in _REQUIRED.items():
        if not isinstance(document.get(key), kind):
            return f"`{key}` is missing or of another type"
    return ""


def write_sums(folder: Path) -> str:
    """The content of SHA256SUMS for all files of the folder, in the format of sha256sum, sorted by name."""
    return _render_sums({name: sha256_file(folder / name) for name in _files(folder)})


def _render_sums(digests: Mapping[str, str]) -> str:
    return "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))


def _files(folder: Path) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if (path.is_file() or path.is_symlink()) and path != folder / SUMS
    ]


def rewrite_files(folder: Path, write: Callable[[Path], object]) -> None:
    """Replace files of a finished package, and their checksums: all of them or none, whenever it is killed.

    write: puts the new ones into a folder that it is given, under their names. They are made beside the package, and
    moved into it once they are whole; a move that was cut short is finished by whoever looks next (`verify_files`).
    """
    making, made = _beside(folder, "rewriting"), _beside(folder, "rewritten")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    write(making)
    lines = (folder / SUMS).read_text("utf-8").splitlines()
    digests = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    digests |= {name: sha256_file(making / name) for name in _files(making)}
    write_text(making / SUMS, _render_sums(digests))
    making.rename(made)
    _finish_rewriting(folder)


def _finish_rewriting(folder: Path) -> None:
    made = _beside(folder, "rewritten")
    if not made.is_dir():
        return
    for name in (*_files(made), SUMS):
        with contextlib.suppress(FileNotFoundError):  # moved already, by the process that was killed or by another
            (made / name).replace(folder / name)
    shutil.rmtree(made, ignore_errors=True)


def _beside(folder: Path, what: str) -> Path:
    return folder.with_name(f".{folder.name}.{what}")


@dataclass(frozen=True, slots=True)
class Verified:
    """What was recomputed: so many files, so many bytes, and the other laws that were checked, in words."""

    files: int
    bytes: int
    laws: tuple[str, ...]


def verify_files(info: PackageInfo) -> Verified:
    """Recompute every digest of a package, and check what its document says of its files.

    Raises Damaged naming every file that is missing, was added, is a link, or has another digest. SHA256SUMS itself is
    held to its bytes: what reads the same with another line end is not what was made.
    """
    _finish_rewriting(info.path)
    sums_path = info.path / SUMS
    try:
        content = sums_path.read_bytes()
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Damaged("the package has no readable SHA256SUMS", where=f"{sums_path}: {error}") from error
    expected: dict[str, str] = {}
    problems: list[str] = []
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name or name.startswith("/") or ".." in Path(name).parts:
            problems.append(f"{SUMS}, line {number}: not understood")
        else:
            expected[name] = digest
    present = set(_files(info.path))
    problems += [f"{name}: is missing" for name in sorted(expected.keys() - present)]
    problems += [f"{name}: is not in {SUMS}" for name in sorted(present - expected.keys())]
    total = 0
    for name in sorted(expected.keys() & present):
        path = info.path / name
        if path.is_symlink():
            problems.append(f"{name}: is a link, and no file of the package")
            continue
        total += path.stat().st_size
        if sha256_file(path) != expected[name]:
            problems.append(f"{name}: was changed after the package was made")
    if not problems and content != _render_sums(expected).encode("utf-8"):
        problems.append(f"{SUMS}: is not written as it was made")
    for part in ("adapter", "merge"):
        section = info.document.get(part)
        if isinstance(section, dict) and expected.get(str(section.get("file"))) != section.get("sha256"):
            problems.append(f"{DOCUMENT}: {part}.sha256 is not that of {section.get('file')}")
    if problems:
        raise Damaged(
            "the package is not what was made",
            where="\n".join(problems),
            hint="make it again: ggship package RUN --name " + info.name,
        )
    return Verified(len(expected), total, ("every file has the digest it was made with",))
