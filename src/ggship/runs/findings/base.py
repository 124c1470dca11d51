"""Findings on a run beside its base: fit, tokens, and code that the base brings along."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ggship.errors import BaseMismatch, GgshipError, NotExpressible
from ggship.runs.files import MIB, read_head
from ggship.runs.findings.catalogue import OBSTACLES, RULES
from ggship.runs.findings.ends import what_ends_answers
from ggship.runs.findings.model import Finding
from ggship.runs.findings.tokens import added_tokens
from ggship.runs.model import Run

if TYPE_CHECKING:
    from ggship.bases.fingerprint import Fingerprint
    from ggship.bases.model import Base

_SHOWN = 5
_VERDICTS = {"unlikely": "GS410", "impossible": "GS411"}
_EMBEDDING = "token_embd.weight"


def what_the_base_says(run: Run, base: Base, seen: Fingerprint | None = None) -> Iterator[Finding]:
    """What does not fit together. seen: the fingerprint, where the caller has it already."""
    from ggship.bases.fingerprint import fingerprint
    from ggship.bases.fit import check_fit
    from ggship.convert.routes import route_of

    try:
        check_fit(run, base)
    except BaseMismatch as error:
        # The first line names the base, as a path of this machine.
        yield RULES[error.rule or "GS401"].found("; ".join(error.where.splitlines()[1:]), fix=_to_pass(run))
        return
    try:
        route_of(run, base)
    except NotExpressible as error:
        if OBSTACLES.get(error.code) == "GS315":
            yield RULES["GS315"].found(error.where, fix=error.hint)
    seen = seen or fingerprint(run, base)
    if seen.verdict in _VERDICTS:
        yield RULES[_VERDICTS[seen.verdict]].found(seen.why, fix=f"{seen.hint[:1].upper()}{seen.hint[1:]}.")
    yield from _tokens(run, base)
    yield from what_ends_answers(run, base)
    if base.config_dir is not None:
        yield from remote_code(base.config_dir, base.config_dir, "the base's config.json")


def whether_they_add_up(blend: Run, base: Base) -> Iterator[Finding]:
    """Why a blend has no sum; what stops one of its runs alone is a finding on that run."""
    from ggship.convert.routes import route_of

    try:
        route_of(blend, base)
    except NotExpressible as error:
        if OBSTACLES.get(error.code) == "GS316":
            yield RULES["GS316"].found(error.where, fix=error.hint)


def remote_code(directory: Path, top: Path, what: str) -> Iterator[Finding]:
    """Whether config.json names Python files that transformers would run (auto_map)."""
    try:
        config = json.loads(read_head(directory / "config.json", top, MIB) or "{}")
    except (ValueError, RecursionError):
        return
    wanted = config.get("auto_map") if isinstance(config, dict) else None
    if isinstance(wanted, dict) and wanted:
        first = next((value for value in wanted.values() if isinstance(value, str)), next(iter(wanted)))
        yield RULES["GS407"].found(f"{what} has auto_map: {first:.60}")


def _to_pass(run: Run) -> str:
    from ggship.bases.portable import portable

    return f"Training named {portable(run.base_named, hub=True)}: pass it with --base." if run.base_named else ""


def _tokens(run: Run, base: Base) -> Iterator[Finding]:
    if run.tokenizer_dir is None:
        return
    added = added_tokens(run.tokenizer_dir, run.root)
    if not added:
        return
    rows = _rows(base)
    beyond = sorted((number, text) for text, number in added.items() if rows and number >= rows)
    if beyond:
        size = beyond[-1][0] + 1
        yield RULES["GS408"].found(
            f"the run's tokenizer has {size:,} tokens, the base has rows for {rows:,}; the first new one is "
            f"{beyond[0][1]!r:.60}"
        )
    if _same_places(base, added):
        return
    known = _known(base)
    new = [text for text, number in added.items() if text not in known and (not rows or number < rows)]
    if new and known:
        more = f" and {len(new) - _SHOWN} more" if len(new) > _SHOWN else ""
        yield RULES["GS409"].found(", ".join(f"{text!r:.40}" for text in new[:_SHOWN]) + more)


def _rows(base: Base) -> int:
    """Rows of the base's embedding; 0 where not known."""
    tensor = base.tensors.get(_EMBEDDING)
    if tensor is not None and tensor.shape:
        return tensor.shape[0]
    size = base.metadata.get(f"{base.architecture}.vocab_size")
    return size if type(size) is int else 0


def _same_places(base: Base, added: Mapping[str, int]) -> bool:
    """Whether the base's GGUF has all of them at these very places: quicker to see than its whole vocabulary."""
    if base.gguf is None:
        return False
    from ggship.gguf.reader import read_gguf

    try:
        tokens = read_gguf(base.gguf).metadata.get("tokenizer.ggml.tokens")
        found = tokens.items_at(added.values()) if tokens is not None else {}
    except (GgshipError, OSError):
        return False
    return all(found.get(number) == text for text, number in added.items())


def _known(base: Base) -> frozenset[str]:
    """The base's tokens, or its added ones where the rest is not known; empty where nothing is."""
    if base.gguf is not None:
        from ggship.gguf.reader import read_gguf

        try:
            tokens = read_gguf(base.gguf).get("tokenizer.ggml.tokens")
        except (GgshipError, OSError):
            return frozenset()
        return frozenset(tokens) if isinstance(tokens, list) else frozenset()
    return frozenset(added_tokens(base.config_dir, base.config_dir)) if base.config_dir else frozenset()
