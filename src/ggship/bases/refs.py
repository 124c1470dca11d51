"""Read the base that the user names: a GGUF file, a Hugging Face directory, ollama:NAME, hf:REPO[@REV][:FILE]."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ggship.bases.from_directory import base_from_directory, is_base_directory
from ggship.bases.from_gguf import base_from_gguf
from ggship.bases.hub import HubRef, locate, parse_hub_ref
from ggship.bases.likeness import repository_of
from ggship.bases.model import Base
from ggship.bases.served import OllamaLister, base_from_ollama
from ggship.errors import BaseNotFound, UsageError

_HERE = Path()


def resolve_ref(ref: str, *, ollama: OllamaLister | None = None, pull: bool = False, cwd: Path = _HERE) -> Base:
    """The base that a --base REF names."""
    kind, colon, rest = ref.partition(":")
    if colon and kind == "ollama":
        if ollama is None:
            raise BaseNotFound(
                "no Ollama server is at hand to ask for that base",
                where=ref,
                hint="start it (ollama serve), name it with --host, or pass a GGUF file with --base",
            )
        return base_from_ollama(ollama, rest)
    if colon and kind == "hf":
        return from_hub(parse_hub_ref(rest), pull=pull, found="as you named it")
    path = cwd / Path(ref).expanduser()
    if path.is_dir():
        return _from_directory(path, ref=ref)
    if path.is_file():
        return base_from_gguf(path, ref=ref)
    if repository_of(ref)[0] == ref and not ref.endswith(".gguf"):
        hint = f"did you mean --base hf:{ref} ?"
    elif "/" not in ref and not ref.endswith(".gguf"):
        hint = f"did you mean --base ollama:{ref} ?"
    else:
        hint = "name a GGUF file, a Hugging Face directory, ollama:NAME or hf:REPO[@REV][:FILE]"
    raise BaseNotFound("there is no such base", where=str(path), hint=hint)


def from_hub(ref: HubRef, *, pull: bool, found: str) -> Base:
    """The base in the Hugging Face cache; downloaded to it first where `pull` says so."""
    path, commit = locate(ref, pull=pull)
    if path.is_dir():
        if not is_base_directory(path) and not _gguf_files(path):
            raise UsageError(
                f"which file of {ref} is the base? It holds no config.json",
                where=str(path),
                hint=f"name a GGUF file of it: --base {ref}:FILE.gguf",
            )
        return _from_directory(path, ref=str(ref), found=found, revision=commit)
    return replace(base_from_gguf(path, ref=str(ref), found=found), revision=commit)


def _from_directory(path: Path, *, ref: str, found: str = "as you named it", revision: str = "") -> Base:
    """A Hugging Face directory, or one that holds a single GGUF file."""
    if is_base_directory(path):
        return base_from_directory(path, ref=ref, found=found, revision=revision)
    files = _gguf_files(path)
    if len(files) == 1:
        return replace(base_from_gguf(files[0], ref=ref, found=found), revision=revision)
    if (path / "adapter_config.json").is_file():
        raise UsageError(
            "that is an adapter, not a base", where=str(path), hint="name the model that it was trained on with --base"
        )
    names = ", ".join(file.name for file in files)
    raise UsageError(
        "which of these GGUF files is the base?" if files else "no model lies in that directory",
        where=f"{path}: {names}" if files else f"{path}: no config.json, no GGUF file",
        hint=f"--base {files[0]}" if files else "name a GGUF file or a directory with config.json",
    )


def _gguf_files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("*.gguf") if path.is_file())
