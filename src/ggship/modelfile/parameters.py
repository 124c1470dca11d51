"""The parameters that Ollama knows, with their types.

Source: Ollama 0.32.14 and 0.34.4, api/types.go (Options, Runner, FormatParams) and parser/parser.go
(deprecatedParameters).
"""

from __future__ import annotations

import re
import struct

from ggship.errors import UsageError
from ggship.modelfile.model import Scalar

INTEGERS = frozenset(
    {
        "num_keep",
        "seed",
        "num_predict",
        "top_k",
        "repeat_last_n",
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "draft_num_predict",
    }
)
FLOATS = frozenset(
    {"top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty"}
)
BOOLEANS = frozenset({"use_mmap"})
LISTS = frozenset({"stop"})
# Read, warned about and left out by Ollama.
DEPRECATED = frozenset(
    {
        "penalize_newline",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mlock",
        "mirostat",
        "mirostat_tau",
        "mirostat_eta",
    }
)
KNOWN = INTEGERS | FLOATS | BOOLEANS | LISTS | DEPRECATED
# Ollama 0.34.4 refuses a model with typical_p (server/create.go CreateHandler, cmd/cmd.go); 0.32.14 takes it.
GONE = frozenset({"typical_p"})

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_INTEGER = re.compile(r"([+-]?)0*([0-9]{1,19})\Z")  # int() refuses thousands of digits, zeros too, in its own words
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_HEX_FLOAT = re.compile(r"[+-]?0[xX]([0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+\Z")
_INT64 = 2**63


def typed(name: str, text: str) -> Scalar:
    """The value that Ollama keeps of `text` for that parameter.

    Numbers with a fraction are read as float32 (strconv.ParseFloat with 32 bits) and kept in the fewest digits that
    give it back; whole ones are int64 on their way to the server and float64 there: exact up to 2**53.
    A deprecated parameter stays text. Raises UsageError for a name or a value that Ollama refuses, and for an infinite
    or undefined number, which JSON cannot carry.
    """
    if name in INTEGERS:
        match = _INTEGER.match(text)
        number = int(match[1] + match[2]) if match else _INT64
        if -_INT64 <= number < _INT64:
            return int(float(number))
        raise UsageError(f"{name} takes a whole number", where=repr(text))
    if name in FLOATS:
        if (single := _float32(text)) is not None:
            return single
        raise UsageError(f"{name} takes a number", where=repr(text))
    if name in BOOLEANS:
        if text in _TRUE | _FALSE:
            return text in _TRUE
        raise UsageError(f"{name} takes true or false", where=repr(text))
    if name in LISTS | DEPRECATED:
        return text
    raise UsageError(f"Ollama knows no parameter {name!r}", hint=suggest(name, KNOWN - DEPRECATED, "known"))


def _float32(text: str) -> float | None:
    """The float32 nearest to that number, as the shortest decimal fraction that is it; None where it is none."""
    try:
        number = float.fromhex(text) if _HEX_FLOAT.match(text) else float(text) if _FLOAT.match(text) else None
        if number is None:
            return None
        bits = struct.pack("<f", number)
    except OverflowError:
        return None
    if struct.unpack("<f", bits)[0] in (float("inf"), float("-inf")):
        return None
    shortest = (float(f"{number:.{digits}g}") for digits in range(1, 10))
    return next((value for value in shortest if _packs(value, bits)), struct.unpack("<f", bits)[0])


def _packs(value: float, bits: bytes) -> bool:
    try:
        return struct.pack("<f", value) == bits
    except OverflowError:
        return False


def written(value: Scalar) -> str:
    """A parameter's value as Ollama reads it: true and false in lower case, numbers in full precision."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)


def suggest(name: str, known: frozenset[str] | tuple[str, ...], label: str) -> str:
    """`did you mean NAME?`, or the list of what is known where nothing is near."""
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), sorted(known), n=1)
    return f"did you mean {near[0]}?" if near else f"{label}: {', '.join(sorted(known))}"
