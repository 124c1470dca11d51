"""Every argument and option that more than one command has, defined once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.runs.several import RunRef

Command = TypeVar("Command", bound=Callable[..., Any])


def _switch_to_json(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(Terminal).as_json = True


def _run_refs(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[RunRef, ...]:
    from ggship.runs.several import parse_run_ref

    return tuple(map(parse_run_ref, value))


def _scale(ctx: click.Context, param: click.Parameter, value: float) -> float:
    if value == 1.0:
        return value
    from ggship.runs.several import parse_scale

    return parse_scale(value)


def _no_empty_path(ctx: click.Context, param: click.Parameter, value: Path | None) -> Path | None:
    return value if value and value.parts else None


run_argument = click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
runs_argument = click.argument("runs", nargs=-1, required=True, callback=_run_refs, metavar="RUN[@WEIGHT]...")
scale_option = click.option(
    "--scale",
    type=float,
    default=1.0,
    show_default=True,
    callback=_scale,
    metavar="X",
    help="Multiply the whole update by X.",
)
json_option = click.option(
    "--json", is_flag=True, expose_value=False, callback=_switch_to_json, help="One JSON document on stdout."
)
base_option = click.option(
    "--base",
    metavar="REF",
    help="The base model: a GGUF file, a Hugging Face directory, ollama:NAME or hf:REPO[@REV][:FILE].",
)
host_option = click.option(
    "--host", metavar="URL", help="The Ollama server (otherwise OLLAMA_HOST, then 127.0.0.1:11434)."
)
force_option = click.option("--force", is_flag=True, help="Go on where ggship would refuse. You were warned.")
outtype_option = click.option(
    "--outtype",
    type=click.Choice(["f32", "f16", "bf16"]),
    default="f32",
    show_default=True,
    help="Precision of the adapter's tensors.",
)
converter_option = click.option(
    "--converter",
    type=click.Choice(["auto", "native", "llamacpp"]),
    default="auto",
    show_default=True,
    help="Our own converter, or the vendored one of llama.cpp (needs ggship[hf]).",
)
runtime_option = click.option(
    "--runtime",
    type=click.Choice(["auto", "ollama", "embedded", "none"]),
    default="auto",
    show_default=True,
    help="Where the model is created and asked; none only writes the package.",
)
dry_run_option = click.option("--dry-run", is_flag=True, help="Show what would be done, and what it takes.")
pull_option = click.option("--pull", is_flag=True, help="Allow downloading the base.")
plugins_option = click.option(
    "--plugins",
    multiple=True,
    metavar="MODULE",
    help="A Python module or file with assertions of your own; it is run. Several times.",
)
judge_options = (
    click.option(
        "--judge", metavar="MODEL", help="Decides llm-rubric: URL#MODEL (key in GGSHIP_JUDGE_KEY), or a name."
    ),
    click.option(
        "--judge-prompt",
        type=click.Path(path_type=Path),
        help="A file with what the judge is told, in place of ggship's own words.",
    ),
    click.option(
        "--embedder", metavar="MODEL", help="For `similar`: URL#MODEL (key in GGSHIP_EMBEDDER_KEY), or a name."
    ),
)
tag_option = click.option(
    "--tag", "tags", multiple=True, metavar="TAG", help="Only the tests with this tag, or one of several."
)


class Rules(click.types.StringParamType):
    """Rules as they are; in an environment variable each on a line, or with semicolons: spaces are part of a rule."""

    name = "rule"

    def split_envvar_value(self, rv: str) -> list[str]:
        """The rules of the variable."""
        return [rule for part in rv.splitlines() for rule in (piece.strip() for piece in part.split(";")) if rule]


gate_option = click.option(
    "--gate",
    "gates",
    multiple=True,
    type=Rules(),
    metavar="EXPR",
    help="One more rule: 'pass_rate >= 0.9'. Several in the variable: with semicolons.",
)


def suite_options(command: Command) -> Command:
    """What every command that asks a suite has: --tag, --plugins, and the models that judge."""
    for option in (*reversed(judge_options), plugins_option, tag_option):
        command = option(command)
    return command


concurrency_option = click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    metavar="N",
    help="Questions at a time.  [1; 4 of an OpenAI-like server; 1 where times are judged]",
)
fresh_option = click.option(
    "--fresh", is_flag=True, help="Ask everything again, also what is kept from an earlier evaluation."
)
summary_option = click.option(
    "--summary",
    type=click.Path(dir_okay=False, path_type=Path),
    default=lambda: os.environ.get("GITHUB_STEP_SUMMARY"),
    callback=_no_empty_path,
    metavar="FILE",
    help="Append the report to FILE as Markdown (otherwise GITHUB_STEP_SUMMARY; '' for nowhere).",
)
likelihood_option = click.option(
    "--likelihood",
    is_flag=True,
    help="Also how probable each model finds the right answers (hf:RUN and embedded; Ollama cannot tell).",
)
strict_option = click.option("--strict", is_flag=True, help="Stop at warnings too (exit code 4); docs/rules.md.")
allow_pickle_option = click.option(
    "--allow-pickle", is_flag=True, help="Read pickled weights, nothing but tensors (needs ggship[hf])."
)
