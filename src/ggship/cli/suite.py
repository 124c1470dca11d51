"""`ggship suite`: make a suite of a data set, check one, look at one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import force_option, json_option, plugins_option, tag_option
from ggship.cli.terminal import Terminal
from ggship.errors import UsageError

if TYPE_CHECKING:
    from ggship.evals.datasets import Dataset
    from ggship.evals.datasets.model import Broken
    from ggship.evals.datasets.sample import Sample

SHOWN = 10
file_argument = click.argument("file", type=click.Path(path_type=Path), metavar="FILE")


@click.group()
def suite() -> None:
    """Make a suite of a data set, check one, look at one.

    \b
    ggship suite from law.csv --train train.jsonl --take 50 --out suite.yaml
    ggship suite check suite.yaml
    """


@suite.command("from")
@click.argument("data", type=click.Path(path_type=Path), metavar="DATA")
@click.option("--format", metavar="NAME", help="lawzhidao, chatglm, openai, alpaca, sharegpt or columns.  [detected]")
@click.option("--columns", metavar="MAP", help="For plain rows: prompt=COLUMN,response=COLUMN[,system=COLUMN].")
@click.option("--dataset", metavar="NAME", help="The entry of a dataset_info.json.")
@click.option("--encoding", metavar="NAME", help="utf-8, gb18030, utf-16.  [detected]")
@click.option("--take", type=click.IntRange(min=1), default=50, show_default=True, help="How many questions.")
@click.option("--seed", type=int, default=42, show_default=True, help="Another seed takes other questions.")
@click.option(
    "--split",
    type=click.Choice(["held-out", "trained", "all"]),
    default="held-out",
    show_default=True,
    help="Questions that do not stand in the training data, those that do, or both.",
)
@click.option("--train", multiple=True, type=click.Path(path_type=Path), help="The training data; several times.")
@click.option("--near", type=click.FloatRange(0.8, 1), default=0.9, show_default=True, help="Alike from here on.")
@click.option("--assert", "assertion", metavar="TYPE", help="One assertion for all: chrf, bleu, similar, llm-rubric.")
@click.option("--threshold", type=click.FloatRange(min=0), help="Of that assertion, or of rouge-l.  [0.3]")
@click.option(
    "--metrics",
    "recorded",
    type=click.Choice(["chatglm3", "llamafactory"]),
    help="Record that trainer's ROUGE and BLEU too (needs ggship[zh]).",
)
@click.option("--system", metavar="TEXT", help="A system message for cases that have none.")
@click.option("--out", type=click.Path(path_type=Path), help="The suite's file.  [stdout]")
@click.option("--strict", is_flag=True, help="Stop where a row cannot be read.")
@force_option
@json_option
@click.pass_obj
def from_(terminal: Terminal, /, data: Path, out: Path | None, strict: bool, force: bool, **given: Any) -> None:
    """Make a suite of DATA: a sample of its questions, with its answers as references.

    The same data and seed give the same suite. Rows that cannot be read are told of, with their lines.
    """
    from ggship.evals.datasets.make import Wanted, make_suite

    if out is not None and out.exists() and not force:
        raise UsageError("that file is there already", where=str(out), hint="another --out, or --force to replace it")
    made = make_suite(data, Wanted(**given))
    _tell(terminal, made.dataset, made.sample)
    if strict and made.sample.broken:
        raise UsageError(
            f"{len(made.sample.broken)} rows cannot be read", where=f"{data}, {made.sample.broken[0]}", hint="mend them"
        )
    if out is not None:
        from ggship.digests import write_bytes

        write_bytes(out, made.text.encode())
    if terminal.as_json:
        terminal.document(made.document(out))
    elif out is None:
        click.echo(made.text, nl=False)
    else:
        terminal.lines(made.rows())
        terminal.say(f"\n→ ggship eval NAME --suite {out}")


def _tell(terminal: Terminal, dataset: Dataset, sample: Sample) -> None:
    """What a user must know of the rows, on stderr."""
    terminal.note(f"{dataset.format.name} ({dataset.format.about}), {dataset.encoding}: {sample.rows} questions")
    _broken(terminal, "not used", sample.broken)
    _broken(terminal, "training data, not compared", sample.training_broken)
    for line in sample.remarks():
        terminal.warn(line)


def _broken(terminal: Terminal, what: str, rows: Sequence[Broken]) -> None:
    for row in rows[:SHOWN]:
        terminal.warn(f"{what}: {row}")
    if len(rows) > SHOWN:
        terminal.warn(f"{what}: {len(rows) - SHOWN} more places; --json lists them all")


@suite.command()
@file_argument
@plugins_option
@json_option
@click.pass_obj
def check(terminal: Terminal, file: Path, plugins: tuple[str, ...]) -> None:
    """Read FILE and show every mistake in it, and what it takes to run it."""
    from ggship.evals.lint import lint_suite
    from ggship.evals.plugins import load_plugins

    load_plugins(plugins)
    found = lint_suite(file)
    if terminal.as_json:
        terminal.document(found.document())
    else:
        for mistake in found.mistakes:
            terminal.say(f"error: {mistake.message}", style="red")
            terminal.lines(
                [("", part) for part in (mistake.where, f"→ {mistake.hint}" if mistake.hint else "") if part]
            )
        for remark in found.remarks:
            terminal.warn(remark)
        terminal.lines(found.rows())
    if found.mistakes:
        count = len(found.mistakes)
        raise UsageError(f"{count} mistake{'s' if count > 1 else ''} in the suite", where=str(file))


@suite.command()
@file_argument
@tag_option
@plugins_option
@json_option
@click.pass_obj
def show(terminal: Terminal, file: Path, tags: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """Show what FILE asks, and what it holds the answers to."""
    from ggship.evals.lint import outline
    from ggship.evals.load import keep_tagged, load_suite
    from ggship.evals.plugins import load_plugins

    load_plugins(plugins)
    asked = keep_tagged(load_suite(file), tags)
    if terminal.as_json:
        terminal.document({"name": asked.name, "digest": asked.digest, **asked.content()})
        return
    terminal.lines(outline(asked))


@suite.command()
@click.pass_obj
def schema(terminal: Terminal) -> None:
    """Print the JSON Schema of suites, for editors."""
    from ggship.evals.suite_schema import suite_schema

    terminal.document(suite_schema())
