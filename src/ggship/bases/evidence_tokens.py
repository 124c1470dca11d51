"""What tokens and chat templates say: those that training saved beside those of a base."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship.bases.model import Base
from ggship.errors import GgshipError
from ggship.gguf.parts import read_model
from ggship.runs.files import MIB, is_regular, read_head
from ggship.runs.model import Run

if TYPE_CHECKING:
    from ggship.bases.fingerprint import Evidence

_LIMIT = 64 * MIB
_ALIKE = 0.99  # trainers rename a few reserved tokens
_STRANGE = 0.5
_SHOWN = 40
_REMEMBERED = 200


def tokens(run: Run, base: Base) -> Iterator[Evidence]:
    """The vocabulary, id by id, and the token that ends an answer."""
    from ggship.bases.fingerprint import Evidence

    if run.tokenizer_dir is None:
        return
    if base.config_dir is not None and (file := _equal_file(run.tokenizer_dir, base.config_dir)):
        yield Evidence("tokens", "fits", f"{file} is the base's, byte for byte")
    else:
        equal, shared = _compared(run.tokenizer_dir, run.root, base)
        if shared:
            alike = equal / shared
            text = f"{alike:.1%} of {shared:,} tokens are the base's"
            says = "fits" if alike >= _ALIKE else "unlikely" if alike < _STRANGE else "doubt"
            yield Evidence("tokens", says, text)
    ours_end, theirs_end = _end(run.tokenizer_dir, run.root), _base_end(base)
    if ours_end and theirs_end and ours_end != theirs_end:
        text = f"training ended answers with {ours_end:.{_SHOWN}}, the base's tokenizer with {theirs_end:.{_SHOWN}}"
        yield Evidence("tokens", "doubt", text)


def template(run: Run, base: Base) -> Iterator[Evidence]:
    """The chat template: equal, or not. Trainers write their own, so that another one proves nothing alone."""
    from ggship.bases.fingerprint import Evidence

    if run.chat_template is None:
        return
    if base.chat_template is None:
        if base.gguf is not None or base.config_dir is not None:
            yield Evidence("template", "doubt", "training saved a chat template, the base has none")
    elif _plain(run.chat_template) == _plain(base.chat_template):
        yield Evidence("template", "fits", "the chat template is the base's")
    else:
        yield Evidence("template", "doubt", "training saved another chat template than the base's")


def _compared(directory: Path, top: Path, base: Base) -> tuple[int, int]:
    """(tokens that are equal, tokens that both have by their ids).

    150,000 of them take a third of a second, so that the counts are kept in the cache directory by the files' stamps.
    """
    from ggship.digests import digest_of, write_text
    from ggship.settings import cache_dir

    files = [directory / "tokenizer.json", directory / "vocab.json"]
    if base.gguf is not None:
        files.append(base.gguf)
    elif base.config_dir is not None:
        files += [base.config_dir / "tokenizer.json", base.config_dir / "vocab.json"]
    key = digest_of({"files": [_stamp(file) for file in files]})
    memory = cache_dir() / "vocabularies.json"
    known = dict(_object(memory, memory.parent))
    counts = known.get(key)
    if isinstance(counts, list) and len(counts) == 2 and all(type(count) is int for count in counts):
        return counts[0], counts[1]
    ours, theirs = _vocabulary(directory, top), _base_vocabulary(base)
    shared = [number for number in ours if number < len(theirs) and theirs[number]]
    equal = sum(ours[number] == theirs[number] for number in shared)
    while len(known) >= _REMEMBERED:
        known.pop(next(iter(known)))
    with suppress(OSError):  # where nothing can be kept, they are counted again
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_text(memory, json.dumps({**known, key: [equal, len(shared)]}))
    return equal, len(shared)


def _stamp(file: Path) -> list[object]:
    try:
        stat = file.stat()
    except OSError:
        return [str(file)]
    return [str(file.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino]


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").strip()


def _equal_file(ours: Path, theirs: Path) -> str:
    for name in ("tokenizer.json", "tokenizer.model"):
        pair = (ours / name, theirs / name)
        if all(map(is_regular, pair)) and pair[0].stat().st_size == pair[1].stat().st_size <= _LIMIT:
            return name if pair[0].read_bytes() == pair[1].read_bytes() else ""
    return ""


def _vocabulary(directory: Path, top: Path) -> dict[int, str]:
    """The tokens by their ids, of tokenizer.json or vocab.json; {} where there is neither, or it is damaged."""
    whole = _object(directory / "tokenizer.json", top)
    model = whole.get("model")
    found = model.get("vocab") if isinstance(model, Mapping) else _object(directory / "vocab.json", top)
    plain: dict[int, str] = {}
    if isinstance(found, Mapping):
        plain = {number: text for text, number in found.items() if type(number) is int}
    elif isinstance(found, list):  # unigram: [[token, score], ...]
        plain = {number: item[0] for number, item in enumerate(found) if isinstance(item, list) and item}
    added = whole.get("added_tokens")
    for token in added if isinstance(added, list) else ():
        if isinstance(token, Mapping):
            number, text = token.get("id"), token.get("content")
            if type(number) is int and isinstance(text, str):
                plain[number] = text
    return plain


def _base_vocabulary(base: Base) -> Sequence[str]:
    if base.gguf is not None:
        try:
            found = read_model(base.gguf).get("tokenizer.ggml.tokens")
        except (GgshipError, OSError):
            return ()
        return found if isinstance(found, list) else ()
    if base.config_dir is None:
        return ()
    by_id = _vocabulary(base.config_dir, base.config_dir)
    return [by_id.get(number, "") for number in range(1 + max(by_id, default=-1))]


def _end(directory: Path, top: Path) -> str:
    """The text of the token that ends an answer, as tokenizer_config.json or special_tokens_map.json names it."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        token = _object(directory / name, top).get("eos_token")
        text = token.get("content") if isinstance(token, Mapping) else token
        if isinstance(text, str) and text:
            return text
    return ""


def _base_end(base: Base) -> str:
    if base.config_dir is not None:
        return _end(base.config_dir, base.config_dir)
    number = base.metadata.get("tokenizer.ggml.eos_token_id")
    if base.gguf is None or type(number) is not int:
        return ""
    try:
        text = read_model(base.gguf).item("tokenizer.ggml.tokens", number)
    except (GgshipError, OSError):
        return ""
    return text if isinstance(text, str) else ""


def _object(file: Path, top: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(read_head(file, top, _LIMIT) or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
