"""Plain rows: one column asks, one answers. Which ones: as the user says, else by the names that trainers know."""

from __future__ import annotations

from collections.abc import Mapping

from ggship.errors import UsageError
from ggship.evals.datasets.alpaca import Columns, alpaca_example
from ggship.evals.datasets.model import Format, Values, row_by_row

# ms-swift's aliases, then those of Axolotl's user-defined prompts.
QUESTIONS = ("query", "prompt", "question", "input", "instruction", "INSTRUCTION", "problem", "title")
ANSWERS = (
    "response",
    "answer",
    "output",
    "completion",
    "generation",
    "reply",
    "RESPONSE",
    "target",
    "targets",
    "solution",
    "answers",
    "chosen",
    "text",
    "content",
)
SYSTEMS = ("system", "system_prompt")
PARTS = ("prompt", "query", "response", "history", "system", "tools")


def parse_columns(text: str) -> Mapping[str, str]:
    """`prompt=ask,response=say` as a map of part to column. UsageError where it is not that."""
    found: dict[str, str] = {}
    for piece in text.split(","):
        part, sign, column = (side.strip() for side in piece.partition("="))
        if not sign or not column or part not in PARTS:
            raise UsageError(
                f"columns are not named like that: {piece.strip()}",
                hint=f"--columns prompt=COLUMN,response=COLUMN; parts are {', '.join(PARTS)}",
            )
        found[part] = column
    if not {"prompt", "response"} <= set(found):
        raise UsageError("--columns needs at least prompt=COLUMN and response=COLUMN")
    return found


def named(columns: Mapping[str, str]) -> Format:
    """The format where these columns hold these parts, and no other counts."""
    chosen = Columns(**{part: columns.get(part, "") for part in PARTS})
    wanted = set(columns.values())
    about = ", ".join(f"{part} in `{column}`" for part, column in columns.items())
    return Format(
        "columns",
        about,
        lambda values: wanted <= set(values),
        row_by_row(lambda record: alpaca_example(record, chosen)),
    )


def guess(values: Values) -> Mapping[str, str] | None:
    """The parts by the usual names of columns; None where no pair of them is there."""
    question = next((name for name in QUESTIONS if name in values), "")
    answer = next((name for name in ANSWERS if name in values and name != question), "")
    if not question or not answer:
        return None
    system = next((name for name in SYSTEMS if name in values), "")
    found = {"prompt": question, "response": answer}
    return {**found, "system": system} if system else found
