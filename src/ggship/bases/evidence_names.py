"""What the names of a base say of it, beside the one that training wrote down."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ggship.bases.likeness import ASSISTANTS, OTHERS, repository_of, unquantized, words_of
from ggship.bases.model import Base
from ggship.bases.portable import portable
from ggship.runs.model import Run

if TYPE_CHECKING:
    from ggship.bases.fingerprint import Evidence

_SIZE = re.compile(r"\d+(?:\.\d+)?[bmt]|\d+x\d+(?:\.\d+)?b")
_COMMIT = re.compile(r"[0-9a-f]{40}")
# Organisations that were renamed: the same repositories under both names.
_RENAMED = {"thudm": "zai-org"}
# The makers' own names in front of a model's: Meta-Llama-3-8B is Llama 3 8B.
_MAKERS = frozenset(("meta", "google", "microsoft", "mistralai", "alibaba", "ibm", "nvidia", "model", "models"))


@dataclass(frozen=True, slots=True)
class Traits:
    """A name taken apart. family: words; numbers: versions and dates; kinds: coder, math, ...; sizes are left out."""

    family: frozenset[str]
    numbers: frozenset[str]
    assistant: bool
    kinds: frozenset[str]


def traits_of(name: str) -> Traits:
    """`Qwen2.5-7B-Instruct`: family qwen, numbers 2.5, an assistant."""
    family: set[str] = set()
    numbers: set[str] = set()
    kinds: set[str] = set()
    assistant = False
    for word in words_of(name):
        if word in ASSISTANTS:
            assistant = True
        elif word in OTHERS:
            kinds.add(word)
        elif not _SIZE.fullmatch(word):
            letters = re.match(r"[a-z]*", word)
            rest = word[letters.end() :] if letters else word
            if letters and letters[0] and letters[0] not in _MAKERS and letters[0] != "v":
                family.add(letters[0])
            if rest:
                numbers.add(rest)
    # "base" is the plain model, which other names say by saying nothing.
    return Traits(frozenset(family), frozenset(numbers), assistant, frozenset(kinds - {"base"}))


def names(run: Run, base: Base) -> Iterator[Evidence]:
    """Compare what training named with everything that the base is called."""
    from ggship.bases.fingerprint import Evidence

    if not run.base_named:
        return
    named = portable(run.base_named, hub=True)
    if _same_place(run, base):
        yield Evidence("name", "same", f"training named this very {'file' if base.gguf else 'folder'}")
        return
    repository, revision = repository_of(run.base_named)
    here = repositories_of(base)
    if repository and _canonical(repository) in {_canonical(other) for other in here}:
        yield Evidence("name", "same", f"training named {repository}, and that is where it comes from")
        yield from _revisions(run.base_revision or revision, base.revision)
        return
    wanted = traits_of(unquantized(repository or named).rpartition("/")[2])
    if not wanted.numbers and not repository:
        return  # a folder that someone named: /data/model tells nothing
    yield from _compared(wanted, named, base, bool(repository))


def repositories_of(base: Base) -> tuple[str, ...]:
    """Repositories on a hub that the base comes from: by its ref, by its place in a cache, or as its file says."""
    found = []
    if base.ref.startswith("hf:"):
        found.append(re.split(r"[@:]", base.ref[3:])[0])
    for path in (base.config_dir, base.gguf):
        if path is not None:
            repository = (
                repository_of(path.absolute().as_posix())[0] or repository_of(path.absolute().parent.as_posix())[0]
            )
            found.append(repository)
    url = base.metadata.get("general.repo_url") or base.metadata.get("general.source.repo_url")
    if isinstance(url, str):
        found.append("/".join(url.rstrip("/").split("/")[-2:]))
    return tuple(dict.fromkeys(name for name in found if name))


def _compared(wanted: Traits, named: str, base: Base, known: bool) -> Iterator[Evidence]:
    """What is said decides: "v0.2", "instruct". What is left out may be said under another of the base's names."""
    from ggship.bases.fingerprint import Evidence

    left_out = other = ""
    for source, name in _sources(base):
        traits = traits_of(name)
        text = f"training named {named}, {source} {name}"
        if not wanted.family & traits.family:
            other = other or (text if known and wanted.numbers and traits.family and traits.numbers else "")
            continue
        # qwen2.5:7b is the instruct model
        silent = source.startswith("Ollama") and not traits.assistant and "text" not in traits.family
        contradiction = _contradiction(wanted, traits)
        if contradiction:
            yield Evidence("name", "unlikely", f"{text}: {contradiction}")
            return
        if not silent and (wanted.kinds - traits.kinds or (wanted.assistant and not traits.assistant)):
            missing = " ".join(sorted(wanted.kinds - traits.kinds)) or "instruct or chat"
            left_out = left_out or f"{text}, without {missing}: the plain model"
            continue
        same = not silent and wanted.family == traits.family and wanted.numbers == traits.numbers
        yield Evidence("name", "same" if same else "fits", text)
        return
    if left_out or other:
        yield Evidence("name", "unlikely", left_out or f"{other}: another model")


def _contradiction(wanted: Traits, traits: Traits) -> str:
    if wanted.numbers - traits.numbers and traits.numbers - wanted.numbers:
        return "another version"
    if traits.kinds - wanted.kinds:
        return f"a {' '.join(sorted(traits.kinds - wanted.kinds))} model"
    return "an instruct model" if traits.assistant and not wanted.assistant else ""


def _sources(base: Base) -> Iterator[tuple[str, str]]:
    """(who says so, name), the file's own words first."""
    parts = [base.metadata.get(f"general.{key}") for key in ("basename", "size_label", "finetune", "version")]
    if isinstance(parts[0], str) and parts[0]:
        yield "the base's file says", " ".join(str(part) for part in parts if part)
    name = base.metadata.get("general.name")
    if isinstance(name, str) and name and not name.startswith(("/", ".")):
        yield "the base's file says", Path(name).name if "/" in name else name
    for repository in repositories_of(base):
        yield "the base comes from", repository.rpartition("/")[2]
    if base.ollama_name:
        yield "Ollama calls the base", base.ollama_name
    for path in (base.gguf, base.config_dir):
        if path is not None and not path.name.startswith("sha256-") and not _COMMIT.fullmatch(path.name):
            yield "the base is called", path.name
    for number in range(4):
        url = base.metadata.get(f"general.base_model.{number}.repo_url")
        if isinstance(url, str) and not parts[2]:
            yield "the base was made of", url.rstrip("/").rpartition("/")[2]


def _same_place(run: Run, base: Base) -> bool:
    named = Path(run.base_named).expanduser()
    for path in (base.config_dir, base.gguf):
        for start in (run.path, run.root, Path()):
            try:
                if path is not None and (start / named).samefile(path):
                    return True
            except (OSError, ValueError):
                continue
    return False


def _revisions(wanted: str, there: str) -> Iterator[Evidence]:
    from ggship.bases.fingerprint import Evidence

    if _COMMIT.fullmatch(wanted) and _COMMIT.fullmatch(there):
        if wanted == there:
            yield Evidence("revision", "same", f"at the very commit, {there[:10]}")
        else:
            text = f"training used commit {wanted[:10]}, this is {there[:10]}: mostly other words in its card"
            yield Evidence("revision", "doubt", text)


def _canonical(repository: str) -> str:
    org, _, name = unquantized(repository).casefold().partition("/")
    return f"{_RENAMED.get(org, org)}/{name.replace('___', '.')}"
