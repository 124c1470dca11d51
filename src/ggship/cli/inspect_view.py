"""Draw a run in 80 columns, without rich: importing it would take a third of the time that `inspect` has."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Sequence

import click

from ggship.runs.describe import adapter_type, group_modules
from ggship.runs.findings import Finding
from ggship.runs.model import Checkpoint, Run, Trainer
from ggship.runs.obstacles import obstacles
from ggship.runs.training import RecordedPrompt, Setting

_WIDTH = 80
_LABEL = 12
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def show_run(run: Run, found: Sequence[Finding]) -> None:
    """Print the run on stdout: facts, modules, checkpoints, and what stands in the way."""
    _say(_bold(_clean(str(run.path))))
    for label, value in _facts(run):
        _fact(label, value)
    _modules(run)
    _training(run)
    if run.checkpoints:
        _checkpoints(run)
    if run.chat_template is not None:
        _template(run)
    _findings(found)
    _verdict(run)


def _facts(run: Run) -> Iterable[tuple[str, str]]:
    yield "adapter", run.chosen
    yield "trainer", _trainer(run.trainer)
    revision = f", revision {run.base_revision}" if run.base_revision else ""
    yield "base", f"{run.base_named}{revision}" if run.base_named else "not named"
    dtypes = ", ".join(sorted({tensor.dtype for tensor in run.tensors.values()}))
    size = sum(tensor.nbytes for tensor in run.tensors.values())
    count = f"{len(run.modules)} module{'' if len(run.modules) == 1 else 's'}"
    what = f"{run.parameters:,} parameters in {count}" if run.modules else f"{len(run.tensors)} tensors"
    yield "method", f"{adapter_type(run)}, {what} ({dtypes}, {_size(size)})"
    yield "tokenizer", ", ".join(run.tokenizer_files) or "not saved with the run"


def _trainer(trainer: Trainer | None) -> str:
    if trainer is None:
        return "not recognised"
    sure = "" if trainer.confidence == "high" else f"{trainer.confidence} confidence: "
    return f"{trainer.name} {trainer.version}".strip() + f" ({sure}{trainer.evidence})"


def _training(run: Run) -> None:
    """What the trainer wrote down, by the file that says it; how it made its prompts; how far the loss came."""
    training, points = run.training, run.history.points
    if not training.settings and not training.prompts and not points:
        return
    _heading("training")
    in_prompts = ("template", "system", "thinking") if training.prompts else ()
    for source in dict.fromkeys(setting.source for setting in training.settings):
        said = [_setting(item) for item in training.settings if item.source == source and item.name not in in_prompts]
        if said:
            _paragraph("", f"{source}: {', '.join(said)}", "")
    for prompt in training.prompts:
        _paragraph("prompt", _prompt(prompt), "")
    for name, column in (("loss", 1), ("eval loss", 2)):
        logged = [(point[0], point[column]) for point in points if point[column] is not None]
        if logged:
            (first, before), (last, after) = logged[0], logged[-1]
            text = f"{_loss(before)} at step {first}, {_loss(after)} at step {last} ({run.history.source})"
            _paragraph(name, text, "")
    for doubt in training.doubts:
        _paragraph("doubt", doubt, "yellow")


def _setting(setting: Setting) -> str:
    value = setting.value
    if isinstance(value, bool):
        text = "yes" if value else "no"
    else:
        text = " + ".join(value) if isinstance(value, tuple) else str(value)
    return f"{setting.name.replace('_', ' ')} {_cut(text, 120)}"


def _prompt(prompt: RecordedPrompt) -> str:
    words = [f"{prompt.kind} {prompt.name}".strip()]
    if prompt.system is not None:
        words.append(f"system {_cut(prompt.system, 60)!r}")
    if prompt.thinking is not None:
        words.append(f"thinking {'on' if prompt.thinking else 'off'}")
    sure = "" if prompt.confidence == "high" else f"; {prompt.confidence} confidence"
    return f"{', '.join(words)} ({prompt.source}{sure})"


def _modules(run: Run) -> None:
    groups = group_modules(run.modules)
    if not groups:
        return
    rows = [
        (
            group.suffix,
            f"x{group.count}",
            f"r {group.rank}",
            f"alpha {group.alpha:g}",
            f"scale {_scale(group.scale)}",
            f"{group.shape[0]} x {group.shape[1]}",
        )
        for group in groups
    ]
    _heading("modules")
    _table(rows[:24], right=(1,))
    if len(rows) > 24:
        _say(_dim(f"  and {len(rows) - 24} more kinds; --json lists every module"))


def _checkpoints(run: Run) -> None:
    _heading("checkpoints")
    shown: Sequence[Checkpoint] = run.checkpoints
    if len(shown) > 12:
        shown = [item for item in shown if item.best or item.path == run.path or item in run.checkpoints[-10:]]
    rows = [("", "loss", "eval loss", "")]
    rows += [(item.path.name, _loss(item.loss), _loss(item.eval_loss), _marks(item, run)) for item in shown]
    _table(rows, right=(1, 2), heading=True)
    if len(shown) < len(run.checkpoints):
        _say(_dim(f"  and {len(run.checkpoints) - len(shown)} earlier ones; --json lists all"))


def _template(run: Run) -> None:
    text = run.chat_template or ""
    _heading("chat template")
    _say(f"  {_clean(run.chat_template_source)}, {len(text):,} characters")
    first = _clean(next((line.strip() for line in text.splitlines() if line.strip()), "(empty)"))
    _say(_dim(f"  {_cut(first, _WIDTH - 2)}"))


def _findings(found: Sequence[Finding]) -> None:
    """Each with its level, code and what was seen; what it means and what to do, where it is more than good to know."""
    if not found:
        return
    _heading("findings")
    for finding in found:
        _paragraph(f"{finding.level}", f"{finding.code} {finding.title}: {finding.evidence}", _COLOURS[finding.level])
        if finding.level != "note":
            _paragraph("", finding.consequence, "yellow")
            _paragraph("", f"\N{RIGHTWARDS ARROW} {finding.fix}", "yellow")


def _verdict(run: Run) -> None:
    _say()
    found = obstacles(run)
    if not found:
        _paragraph("ok", "every trained number can be expressed in a GGUF adapter", "green")
    elif all(obstacle.way for obstacle in found):
        _paragraph("merge", "not all of it can be expressed in a GGUF adapter: it is shipped merged", "yellow")
    else:
        _paragraph("cannot", "not all of it can be expressed in GGUF: packaging is refused", "red")


def _marks(checkpoint: Checkpoint, run: Run) -> str:
    marks = ["best"] if checkpoint.best else []
    return ", ".join(marks + (["used"] if checkpoint.path == run.path else []))


def _heading(text: str) -> None:
    _say()
    _say(_dim(text))


def _fact(label: str, value: str) -> None:
    lines = textwrap.wrap(_clean(value), _WIDTH - _LABEL - 2, break_on_hyphens=False) or [""]
    for number, line in enumerate(lines):
        _say(f"  {_dim((label if number == 0 else '').ljust(_LABEL))}{line}")


def _paragraph(label: str, text: str, colour: str) -> None:
    lines = textwrap.wrap(_clean(text), _WIDTH - _LABEL - 2, break_on_hyphens=False)
    for number, line in enumerate(lines):
        _say(f"  {_style((label if number == 0 else '').ljust(_LABEL), colour)}{line}")


def _table(rows: Sequence[tuple[str, ...]], *, right: Sequence[int] = (), heading: bool = False) -> None:
    clean = [tuple(_clean(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in clean) for column in range(len(clean[0]))]
    for number, row in enumerate(clean):
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = _cut("  " + "   ".join(cells).rstrip(), _WIDTH)
        _say(_dim(line) if heading and number == 0 else line)


def _loss(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _scale(value: float) -> str:
    return f"{value:.1f}" if value == round(value, 1) else f"{value:.4g}"


def _size(count: float) -> str:
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def _clean(text: str) -> str:
    """No control characters: names and templates come from files that others wrote."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _style(text: str, colour: str) -> str:
    return text if "NO_COLOR" in os.environ or not colour else click.style(text, fg=colour)


def _dim(text: str) -> str:
    return text if "NO_COLOR" in os.environ else click.style(text, dim=True)


def _bold(text: str) -> str:
    return text if "NO_COLOR" in os.environ else click.style(text, bold=True)


def _say(text: str = "") -> None:
    click.echo(text)
