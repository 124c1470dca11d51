"""Read the base that the user names: a GGUF file, a Hugging Face directory, ollama:NAME, hf:REPO[@REV][:FILE]."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ggship.bases.from_directory import base_from_directory, is_base_directory, weight_files
from ggship.bases.from_gguf import base_from_gguf
from ggship.bases.hub import HubRef, Located, absent, find_cached, parse_hub_ref
from ggship.bases.likeness import repository_of
from ggship.bases.model import Base
from ggship.bases.served import OllamaLister, base_from_ollama
from ggship.errors import BaseNotFound, UsageError
from ggship.gguf.parts import first_part

_HERE = Path()
_TOKENIZERS = frozenset(
    ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "sentencepiece.bpe.model")
)


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
    """The base in the Hugging Face cache; without all of it there, downloaded first where `pull` says so.

    What is whole in the cache is taken without asking the hub anything.
    """
    try:
        located = find_cached(ref)
    except BaseNotFound as error:
        if not pull:
            raise absent(ref) from error
        located = None
    except UsageError:
        if not pull:
            raise
        located = None
    if pull and (located is None or not _whole(located)):
        from ggship.bases.download import download

        located = download(ref)
    if located is None or (located.choice.path and not located.choice.weights):
        raise absent(ref)
    found = f"{found}; {located.choice.why}" if located.choice.why else found
    if located.choice.path:
        return replace(base_from_gguf(located.path, ref=str(ref), found=found), revision=located.commit)
    return _from_directory(located.path, ref=str(ref), found=found, revision=located.commit)


def _whole(located: Located) -> bool:
    """Whether nothing of it is left to download: of a directory, weights and tokenizer."""
    if located.choice.path:
        return located.choice.weights
    return bool(weight_files(located.path)) and not _TOKENIZERS.isdisjoint(located.choice.files)


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
    """The models in GGUF that lie there: a file each, of a split one its first part."""
    files = sorted(path for path in directory.glob("*.gguf") if path.is_file())
    return [path for path in files if first_part(path) in (None, path.name)]
