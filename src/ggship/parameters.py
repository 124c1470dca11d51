"""How the model is asked where nobody says otherwise: as training or the base recorded, or as the user says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship.errors import UsageError
from ggship.modelfile import Scalar
from ggship.modelfile.parameters import DEPRECATED, FLOATS, INTEGERS, typed
from ggship.runs.files import MIB, is_regular, read_object

if TYPE_CHECKING:
    from ggship.bases.model import Base
    from ggship.runs.model import Run

SMALLEST_CONTEXT = 4096
"""Tokens: what Ollama gives where nobody asks, on machines with little memory (server/routes.go, defaultNumCtx)."""

GENERATION = "generation_config.json"
# transformers (GenerationConfig) -> Ollama. Not taken: max_new_tokens, which is the caller's; typical_p, for which
# Ollama 0.34.4 refuses the model; what Ollama has no parameter for (num_beams, no_repeat_ngram_size).
_NAMES = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
_SAMPLING = ("temperature", "top_p", "top_k", "min_p")
# llama.cpp's converter keeps the same in GGUF (gguf-py: gguf/metadata.py, load_generation_config; Keys.General).
_IN_GGUF = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_p": "top_p",
    "general.sampling.top_k": "top_k",
    "general.sampling.min_p": "min_p",
    "general.sampling.penalty_repeat": "repeat_penalty",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One Modelfile parameter of the served model, and where it is known from."""

    name: str
    value: Scalar
    source: str

    def document(self) -> dict[str, Any]:
        """As it stands in ggship.json."""
        return {"name": self.name, "value": self.value, "source": self.source}


@dataclass(frozen=True, slots=True)
class Parameters:
    """All parameters but the stops that the prompt has; each name once, but for stops of the user's own.

    notes: what was recorded and is not among them, in words.
    """

    given: tuple[Parameter, ...] = ()
    notes: tuple[str, ...] = ()

    def reasons(self) -> tuple[tuple[str, str], ...]:
        """(what, decision and why) for the plan."""
        rows = [(item.name, f"{item.value}: {item.source}") for item in self.given]
        return (*rows, *(("parameters", note) for note in self.notes))

    def pairs(self, stops: Sequence[str]) -> tuple[tuple[str, Scalar], ...]:
        """For a Modelfile: the stops first."""
        return (*(("stop", stop) for stop in stops), *((item.name, item.value) for item in self.given))

    def document(self) -> list[dict[str, Any]]:
        """As it stands in ggship.json."""
        return [item.document() for item in self.given]


def plan_parameters(run: Run, base: Base, wanted: Sequence[str] = ()) -> Parameters:
    """What the user says (`NAME=VALUE`), then what training's length asks for, then what generation_config.json has.

    Law: num_ctx, where it is set and not by the user, is at least the training length. Raises UsageError for a
    parameter that Ollama does not know, BadFile where generation_config.json is damaged.
    """
    notes: list[str] = []
    given = list(_wanted(wanted))
    said = {item.name for item in given}
    context = _context(run, base, notes)
    if context is not None and "num_ctx" not in said:
        given.append(context)
    elif context is not None:
        asked = next(item.value for item in reversed(given) if item.name == "num_ctx")
        if isinstance(asked, int) and isinstance(context.value, int) and asked < context.value:
            notes.append(f"num_ctx {asked}, as you asked, is less than {context.value}: {context.source}")
    recorded = _recorded(run, base, notes) or _in_gguf(base)
    given += [item for item in recorded if item.name not in said]
    return Parameters(tuple(given), tuple(notes))


def _wanted(wanted: Sequence[str]) -> Iterator[Parameter]:
    last: dict[str, Parameter] = {}
    for text in wanted:
        name, equals, value = text.partition("=")
        if not equals:
            raise UsageError("a parameter is given as NAME=VALUE", where=text, hint="--parameter temperature=0.2")
        if name in DEPRECATED:
            raise UsageError("Ollama leaves that parameter out: it is deprecated", where=text)
        item = Parameter(name, typed(name, value), "as you asked")
        if name == "stop":
            yield item
        else:
            last[name] = item
    yield from last.values()


def _context(run: Run, base: Base, notes: list[str]) -> Parameter | None:
    recorded = run.training.setting("sequence_length")
    if recorded is None or type(recorded.value) is not int or recorded.value < 1:
        return None
    length, own = recorded.value, base.metadata.get(f"{base.architecture}.context_length")
    most = own if type(own) is int and own > 0 else None
    why = f"training cut at {length:,} tokens ({recorded.source})"
    if most is not None and length > most:
        notes.append(f"{why}, but the base is made for {most:,}, and Ollama gives no more than that")
    least = SMALLEST_CONTEXT if most is None else min(SMALLEST_CONTEXT, most)
    if length >= least:
        return Parameter("num_ctx", length, why)
    return Parameter("num_ctx", least, f"{why}; Ollama's own is never less than {least:,}, which answers may need")


def _recorded(run: Run, base: Base, notes: list[str]) -> list[Parameter]:
    """What the first generation_config.json says, the run's before the base's."""
    for folder, top, whose in _folders(run, base):
        if is_regular(folder / GENERATION):
            config = read_object(folder / GENERATION, top, MIB)
            return _taken(config, f"{GENERATION} of the {whose}", notes)
    return []


def _folders(run: Run, base: Base) -> Iterator[tuple[Path, Path, str]]:
    for folder in dict.fromkeys((run.path, run.root)):
        yield folder, run.root, "run"
    if base.config_dir is not None:
        yield base.config_dir, base.config_dir, "base"


def _taken(config: Mapping[str, Any], source: str, notes: list[str]) -> list[Parameter]:
    if config.get("do_sample") is False:
        # transformers then takes the likeliest token and looks at no other setting of sampling.
        return [
            Parameter("temperature", 0.0, f"{source}: do_sample is false"),
            *_each({"repetition_penalty": config.get("repetition_penalty")}, _NAMES, source, notes),
        ]
    if config.get("do_sample") is not True:
        # The same where nobody says so: False is transformers' default, and these numbers were never used.
        unused = [name for name in _SAMPLING if config.get(name) is not None]
        if unused:
            named = ", ".join(unused)
            notes.append(
                f"{source} has {named} without do_sample: transformers would use none of it, so it is left out"
            )
        config = {"repetition_penalty": config.get("repetition_penalty")}
    return _each(config, _NAMES, source, notes)


def _in_gguf(base: Base) -> list[Parameter]:
    return _each(base.metadata, _IN_GGUF, "the base's GGUF", [])


def _each(values: Mapping[str, Any], names: Mapping[str, str], source: str, notes: list[str]) -> list[Parameter]:
    found = []
    for theirs, ours in names.items():
        value = values.get(theirs)
        if value is None:
            continue
        if _sensible(ours, value):
            found.append(Parameter(ours, _single(float(value)) if ours in FLOATS else value, f"{source}: {theirs}"))
        else:
            notes.append(f"{source} has {theirs} {value!r:.40}, which is no value for {ours}: left out")
    return found


def _sensible(name: str, value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return False
    if name in INTEGERS:
        return isinstance(value, int) and 0 <= value < 1 << 31
    return 0 <= value <= (1 if name in ("top_p", "min_p") else 100) and (name != "repeat_penalty" or value > 0)


def _single(value: float) -> float:
    """As Ollama keeps it: a GGUF holds float32, which reads 0.6000000238418579 where 0.6 was written."""
    kept = typed("temperature", repr(value))
    return float(kept)
