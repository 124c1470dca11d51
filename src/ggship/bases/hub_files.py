"""Which files of a repository are the base: a model's directory, or one GGUF of those that are there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ggship.errors import BaseNotFound, UsageError
from ggship.gguf.parts import names_of_parts

# What a base needs: config, weights, tokenizer. No code, no pickles, no weights of other frameworks.
_SMALL = ("*.json", "*.jinja", "*.model", "*.txt")
_PICKLED = (".bin", ".pt", ".pth")
# GGUF files that are no language model: vision projectors, importance matrices.
_ASIDE = re.compile(r"(?:^|[/._-])(?:mmproj|imatrix)", re.IGNORECASE)
# Merging starts best from what has lost the least; 32 bits are twice the download and no better.
_PREFERRED = ("BF16", "F16", "F32", "Q8_0")
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Choice:
    """files: what is to be downloaded, in order. path: the first GGUF file, "" where the directory is the base.

    why: in words, "" where there was nothing to choose. weights: whether all weights are among the files, as far as
    their names tell (an index may name more).
    """

    files: tuple[str, ...]
    path: str
    why: str = ""
    weights: bool = True


def choose_files(sizes: Mapping[str, int], wanted: str, ref: str) -> Choice:
    """The files of the base, of all in the repository (name -> bytes).

    wanted: a file, a pattern or a quantization; "" takes the model's directory, else the only GGUF, else the one of the
    highest precision up to 16 bits. Raises BaseNotFound, and UsageError with the list where several could be meant.
    """
    models = _gguf_models(sizes)
    if wanted:
        return _asked_for(sizes, models, wanted, ref)
    top = [name for name in sizes if "/" not in name]
    small = tuple(name for name in top if any(fnmatchcase(name, pattern) for pattern in _SMALL))
    weights = [name for name in top if name.endswith(".safetensors")]
    if "adapter_config.json" in top:
        raise UsageError(
            f"{ref} is an adapter, not a base", where="it holds adapter_config.json", hint="name the model it is for"
        )
    if "config.json" in top and (weights or not models):
        # `consolidated.safetensors` beside `model-*.safetensors` is the same model once more.
        named = tuple(name for name in weights if name.startswith("model")) or tuple(weights)
        return Choice((*small, *named), "", weights=bool(named))
    return _most_precise(models, ref)


def pickled_files(sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Weights whose reading could run anybody's code, which ggship never downloads."""
    return tuple(name for name in sizes if "/" not in name and name.endswith(_PICKLED))


def _asked_for(
    sizes: Mapping[str, int], models: Mapping[str, tuple[tuple[str, ...], int]], wanted: str, ref: str
) -> Choice:
    if wanted in sizes:
        return _whole(sizes, names_of_parts(wanted), ref)
    if any(char in wanted for char in "*?["):
        found = [key for key, (files, _) in models.items() if any(fnmatchcase(name, wanted) for name in files)]
    else:
        found = [key for key in models if _mentions(key, wanted)]
    if len(found) == 1:
        return _whole(sizes, models[found[0]][0], ref)
    if not found:
        raise BaseNotFound(
            f"no file of {ref.partition(':')[2] if ref.startswith('hf:') else ref} is meant by {wanted}",
            where=_listed(models) or "it holds no GGUF file",
            hint=f"name one of these: --base {_named(ref, wanted, next(iter(models)))}" if models else "",
        )
    several = {key: models[key] for key in found}
    raise UsageError(
        f"which of these files is the base? {len(found)} of them match {wanted}",
        where=_listed(several),
        hint=f"--base {_named(ref, wanted, found[0])}",
    )


def _most_precise(models: Mapping[str, tuple[tuple[str, ...], int]], ref: str) -> Choice:
    if not models:
        raise UsageError(
            f"which file of {ref} is the base? It holds no config.json",
            where="and no GGUF file that is a language model",
            hint="name a GGUF file of it: --base hf:ORG/NAME:FILE.gguf",
        )
    if len(models) == 1:
        ((files, _),) = models.values()
        return Choice(files, files[0])
    for kind in _PREFERRED:
        found = [key for key in models if _mentions(key, kind)]
        if len(found) == 1:
            files = models[found[0]][0]
            return Choice(files, files[0], f"{kind}, which has kept the most precision of the {len(models)} there")
        if found:
            break
    first = next(iter(models))
    raise UsageError(
        f"which file of {ref} is the base? It holds {len(models)} GGUF models",
        where=_listed(models),
        hint=f"name one: --base {_named(ref, '', first)}, or the quantization alone",
    )


def _gguf_models(sizes: Mapping[str, int]) -> dict[str, tuple[tuple[str, ...], int]]:
    """First file -> (all its files, bytes), of every GGUF model whose first part is there; smallest first."""
    found = {}
    for name in sizes:
        if not name.endswith(".gguf") or _ASIDE.search(name):
            continue
        files = names_of_parts(name)
        if files[0] == name:
            found[name] = (files, sum(sizes.get(file, 0) for file in files))
    return dict(sorted(found.items(), key=lambda item: (item[1][1], item[0])))


def _whole(sizes: Mapping[str, int], files: tuple[str, ...], ref: str) -> Choice:
    if not files[0].endswith(".gguf"):
        raise UsageError(f"{files[0]} is no GGUF file", where=ref, hint="leave the file out to take the whole model")
    return Choice(files, files[0], weights=all(name in sizes for name in files))


def _mentions(name: str, kind: str) -> bool:
    """Whether a file's name, or that of its folder, has the quantization as a word of its own: Q4_K is not Q4_K_M."""
    return re.search(rf"(?<![a-z0-9]){re.escape(kind.casefold())}(?![a-z0-9_])", name.casefold()) is not None


def _named(ref: str, wanted: str, file: str) -> str:
    return f"{ref.removesuffix(f':{wanted}') if wanted else ref}:{file}"


def _listed(models: Mapping[str, tuple[tuple[str, ...], int]]) -> str:
    from ggship.card import human_size

    lines = [
        f"{key} ({human_size(size)}{f', {len(files)} parts' if len(files) > 1 else ''})"
        for key, (files, size) in list(models.items())[:_SHOWN]
    ]
    return "\n".join(lines + ([f"and {len(models) - _SHOWN} more"] if len(models) > _SHOWN else []))
