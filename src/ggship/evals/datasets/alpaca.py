"""Alpaca: `instruction`, `input`, `output`, with LLaMA-Factory's `history` and `system`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ggship.evals.datasets.model import Example, Format, Record, RowError, Values, list_of, row_by_row, text_of
from ggship.evals.datasets.turns import example, say, tools_of
from ggship.runtimes.model import Message


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column holds what; "" where none does."""

    prompt: str = "instruction"
    query: str = "input"
    response: str = "output"
    history: str = "history"
    system: str = "system"
    tools: str = "tools"


def alpaca_example(record: Record, columns: Columns) -> Example:
    """The user says instruction and input on two lines, as LLaMA-Factory and ms-swift train it."""
    values = record.values
    turns: list[Message] = []
    if system := _text(values, columns.system):
        turns.append(say("system", system))
    for pair in list_of(values, columns.history) if columns.history else ():
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            raise RowError("`history` is no list of [question, answer]")
        turns += [say("user", pair[0]), say("assistant", pair[1])]
    asked = "\n".join(part for part in (_text(values, columns.prompt), _text(values, columns.query)) if part)
    turns += [say("user", asked), say("assistant", text_of(values, columns.response, needed=True))]
    return example(record.line, turns, tools_of(values.get(columns.tools)) if columns.tools else ())


def _text(values: Mapping[str, object], column: str) -> str:
    return text_of(values, column) if column else ""


def _fits(values: Values) -> bool:
    return "instruction" in values and "output" in values


ALPACA = Format(
    "alpaca",
    "instruction, input, output, history, system",
    _fits,
    row_by_row(lambda record: alpaca_example(record, Columns())),
)
