"""docs/fidelity.md: what a run of the matrix found, as a text. Written by scripts/fidelity-table, never by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from .cells import CELLS, Cell
from .models import ARCHITECTURES, VOCABULARY
from .options import OPTIONS
from .prompts import LENGTHS

# What `pytest --fidelity-results FILE` writes: {"noise": [...], "upstream": [...], "cell": [...]}, as tests record it.
Results = Mapping[str, Sequence[Mapping[str, Any]]]

_ROUTES = {
    "pairs": (
        "An adapter, served or merged",
        "Every trained number is in a LoRA pair. Measured are both the adapter beside its base and the two merged; "
        "the larger difference stands here.",
    ),
    "updates": ("Merged in GGUF", "A GGUF adapter cannot carry it. ggship merges it into the base's GGUF file."),
    "peft": ("Merged by PEFT", "PEFT merges it into the base's own weights, and those go into the base's GGUF file."),
}
_HEAD = """# What was trained is what is shipped

Written by `scripts/fidelity-table` from a run of `tests/fidelity`, never by hand.
{cells} cells: {exact} exact, {refused} refused.

Each cell is a real PEFT adapter with random weights on a tiny random model (two layers, {vocabulary} tokens), shipped
by ggship and run by llama.cpp in 32-bit floats. A request for as many top log-probabilities as there are tokens gives
the whole distribution of the next token; it is held against that of PEFT itself, for four prompts of {lengths} tokens.

* **exact**: `largest difference of a log-probability / Kullback-Leibler divergence`, in nats, the worst of the prompts.
  The adapters move log-probabilities by {effects} nats.
* **refused**: exit code 4 with this code, the reason, and what to do. Nothing is written.

## How close is exact?

No adapter can be closer than the bare model is in the two programs, which add the same numbers in another order. An
exact cell may differ by ten times the limit of that, and its divergence is held to the limit's square. GELU costs three
digits: ggml looks it up in a table of 16-bit floats. A scale that is off by one percent fails in every architecture.

"""


_FOUND = """## What others get wrong here

* llama.cpp's own converter, which ends with exit code 0: {upstream}.
* PEFT's `merge_and_unload`, where the embedding is the output head too: a LoRA on `embed_tokens` changes the look-up of
  tokens alone in training, and both once merged. ggship gives the merged model a head of its own.
* llama.cpp's server switches an activated LoRA on one token before its invocation tokens; PEFT at the first of them.
* PEFT computes the factors of PSOFT and FRoD anew when it loads them, and not the same on every machine.

## What this does not show

The models are tiny, and every number is a 32-bit float. What quantizing takes away is measured at each merge, as update
survival; that a packaged model answers as it was trained is what `ggship eval` and `ggship verify` are for.
"""


def render(results: Results) -> str:
    """The document. Raises KeyError where a cell of the matrix has no result, ValueError where one failed."""
    found = {str(result["name"]): result for result in results["cell"]}
    wrong = [cell.name for cell in CELLS if found[cell.name]["route"] != cell.route]
    if wrong:
        raise ValueError(f"these cells did not go their route: {', '.join(wrong)}")
    refused = sum(bool(cell.refused) for cell in CELLS)
    effects = [found[cell.name]["effect"] for cell in CELLS if not cell.refused]
    head = _HEAD.format(
        cells=len(CELLS),
        exact=len(CELLS) - refused,
        refused=refused,
        vocabulary=VOCABULARY,
        lengths=_lengths(),
        effects=f"{min(effects):.1f} to {max(effects):.0f}",
    )
    parts = [head + _noise(results["noise"])]
    for route, (title, words) in _ROUTES.items():
        cells = [cell for cell in CELLS if cell.route == route]
        parts.append(f"## {title}\n\n{words}\n\n" + _matrix(cells, lambda cell: _figures(found[cell.name]["results"])))
    cells = [cell for cell in CELLS if cell.refused]
    parts.append("## Refused\n\n" + _matrix(cells, lambda cell: f"`{cell.refused}`"))
    upstream = [f"{OPTIONS[item['option']].words}, {item['largest']:.1f} nats" for item in results["upstream"]]
    parts.append(_FOUND.format(upstream="; ".join(upstream)))
    return "\n".join(parts)


def _noise(noise: Sequence[Mapping[str, Any]]) -> str:
    measured = {str(item["architecture"]): item for item in noise}
    rows = [("architecture", "bare model", "limit", "exact means at most")]
    for arch in ARCHITECTURES.values():
        limits = f"{_short(arch.tolerance)} / {_short(arch.kl_tolerance)}"
        rows.append((arch.name, _figure(measured[arch.name]), _short(arch.noise), limits))
    return _table(rows)


def _matrix(cells: Sequence[Cell], show: Callable[[Cell], str]) -> str:
    """One row for each way to train, one column for each architecture."""
    names = [name for name in ARCHITECTURES if any(cell.architecture.name == name for cell in cells)]
    shown = {(cell.option.words, cell.architecture.name): show(cell) for cell in cells}
    words = dict.fromkeys(cell.option.words for cell in cells)
    return _table(
        [("trained with", *names), *((word, *(shown.get((word, name), "") for name in names)) for word in words)]
    )


def _figures(results: Mapping[str, Mapping[str, float]]) -> str:
    return _figure({key: max(result[key] for result in results.values()) for key in ("largest", "kl")})


def _figure(difference: Mapping[str, Any]) -> str:
    return f"{_short(difference['largest'])} / {_short(max(difference['kl'], 0.0))}"


def _short(number: float) -> str:
    """One digit is enough: 3e-6."""
    digit, power = f"{number:.0e}".split("e")
    return f"{digit}e{int(power)}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Iterable[str]) -> str:
        return "| " + " | ".join(cells) + " |\n"

    return line(rows[0]) + "|" + "---|" * len(rows[0]) + "\n" + "".join(line(row) for row in rows[1:])


def _lengths() -> str:
    return f"{', '.join(map(str, LENGTHS[:-1]))} and {LENGTHS[-1]}"
