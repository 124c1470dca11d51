"""The special tokens of a model by name: from the tokenizer that training saved, else from the base."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ggship.bases.model import Base
from ggship.runs.files import MIB, is_regular, read_object
from ggship.runs.model import Run

TokenNames = Mapping[int, str] | Callable[[int], str | None]
"""Names of tokens by id, where the caller has them (a GGUF's `tokenizer.ggml.tokens`)."""

_LIMIT = 64 * MIB


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """bos, eos: None where the tokenizer has none. ends: all tokens that end an answer, eos first."""

    bos: str | None
    eos: str | None
    ends: tuple[str, ...]


def special_tokens(run: Run, base: Base, names: TokenNames | None = None) -> SpecialTokens:
    """The special tokens of the run's tokenizer, else of the base's.

    Read from tokenizer_config.json, special_tokens_map.json and generation_config.json, in the run and in the base's
    directory, and from the base's GGUF metadata (`tokenizer.ggml.bos_token_id`, `.eos_token_id`, `.eot_token_id`),
    whose ids are named by `names`, or by the base's own GGUF file. Raises BadFile where such a file is damaged.
    """
    folders = list(_folders(run, base))
    bos, eos = None, None
    known = False
    for folder, top in folders:
        found = _declared(folder, top)
        if found is not None:
            bos, eos = found
            known = True
            break
    metadata = base.metadata
    look = _Names(names, base.gguf)
    if not known:
        bos = look(metadata.get("tokenizer.ggml.bos_token_id"))
        eos = look(metadata.get("tokenizer.ggml.eos_token_id"))
    ends: list[str | None] = [eos]
    for folder, top in folders:
        ends += _generation_ends(folder, top, look)
    for key in ("eos", "eot", "eom"):
        identifier = metadata.get(f"tokenizer.ggml.{key}_token_id")
        # The run's own tokenizer may have moved ids; the base's are used for what it does not say.
        ends.append(look(identifier) if identifier is not None else None)
    return SpecialTokens(bos, eos, tuple(dict.fromkeys(end for end in ends if end)))


def added_tokens(run: Run, base: Base) -> Iterator[tuple[str, int]]:
    """(text, id) of the tokens that the tokenizer never splits; of the run's, else of the base's directory."""
    for folder, top in _folders(run, base):
        found = [(text, identifier) for identifier, text in _added(folder, top)]
        if found:
            yield from found
            return


def _folders(run: Run, base: Base) -> Iterator[tuple[Path, Path]]:
    """(directory, what no link may leave), the run's first."""
    for folder in dict.fromkeys((run.tokenizer_dir, run.path, run.root)):
        if folder is not None:
            yield folder, run.root
    if base.config_dir is not None:
        yield base.config_dir, base.config_dir


def _object(folder: Path, top: Path, name: str) -> dict[str, Any]:
    file = folder / name
    return read_object(file, top, _LIMIT) if is_regular(file) else {}


def _declared(folder: Path, top: Path) -> tuple[str | None, str | None] | None:
    """(bos, eos) as the tokenizer files there say; None where there are none."""
    config = _object(folder, top, "tokenizer_config.json")
    special = _object(folder, top, "special_tokens_map.json")
    if not config and not special:
        return None
    merged = {**special, **{key: value for key, value in config.items() if value is not None}}
    return _content(merged.get("bos_token")), _content(merged.get("eos_token"))


def _content(token: Any) -> str | None:
    """A token is a text, or an object with its text in `content` (transformers: AddedToken)."""
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) and token else None


def _generation_ends(folder: Path, top: Path, look: _Names) -> list[str | None]:
    ids = _object(folder, top, "generation_config.json").get("eos_token_id")
    ids = ids if isinstance(ids, list) else [ids]
    ids = [identifier for identifier in ids if isinstance(identifier, int) and not isinstance(identifier, bool)]
    if not ids:
        return []
    added = dict(_added(folder, top))
    return [added.get(identifier) or look(identifier) for identifier in ids]


def _added(folder: Path, top: Path) -> Iterator[tuple[int, str]]:
    """Ids and texts of the added tokens that the small files list."""
    decoder = _object(folder, top, "tokenizer_config.json").get("added_tokens_decoder")
    for identifier, token in (decoder if isinstance(decoder, dict) else {}).items():
        content = _content(token)
        if content and str(identifier).isdigit():
            yield int(identifier), content
    for content, identifier in _object(folder, top, "added_tokens.json").items():
        if isinstance(identifier, int):
            yield identifier, content
    listed = _object(folder, top, "tokenizer.json").get("added_tokens")
    for token in listed if isinstance(listed, list) else []:
        if isinstance(token, dict) and isinstance(token.get("id"), int) and _content(token):
            yield token["id"], token["content"]


class _Names:
    """Names of tokens by id: from the caller, else from the GGUF file, whose vocabulary is walked as far as asked."""

    def __init__(self, names: TokenNames | None, gguf: Path | None) -> None:
        self._names = names
        self._gguf = gguf

    def __call__(self, identifier: Any) -> str | None:
        if not isinstance(identifier, int) or isinstance(identifier, bool) or identifier < 0:
            return None
        if self._names is not None:
            return self._names(identifier) if callable(self._names) else self._names.get(identifier)
        if self._gguf is None:
            return None
        from ggship.gguf.reader import read_gguf

        token = read_gguf(self._gguf).item("tokenizer.ggml.tokens", identifier)
        return token if isinstance(token, str) else None
