"""The command line: the only package that imports click or rich.

One file a command; this module knows their names, so that `--help` and `--version` import none of them.
"""

from __future__ import annotations

import importlib
import keyword
import sys

import click

from ggship import __version__

# section -> command -> what it does, in the order `--help` shows them.
SECTIONS: dict[str, dict[str, str]] = {
    "Everyday": {
        "package": "The main job: from a training run to a proven, live model.",
        "eval": "Ask a model its suite again, beside its base.",
        "inspect": "What is this run, and what would go wrong?",
        "doctor": "What works on this machine, and what is missing?",
    },
    "Prove": {
        "compare": "Several models, one suite: how do they differ?",
        "suite": "Make a suite of a data set, check one, look at one.",
        "bench": "Several ask at once: rates, percentiles, errors.",
        "review": "People read the answers, blind, on a local page.",
        "verify": "Recompute every digest and law of a package.",
        "demo": "The whole way on a small example, with no server.",
    },
    "Release": {
        "init": "Write ggship.yaml: run, suite, gates, targets, gateway.",
        "plan": "What ggship.yaml would change, and where.",
        "ship": "All that ggship.yaml says: package, publish, route.",
        "releases": "What was live when, and what is; prune old versions.",
        "promote": "Make a version live.",
        "rollback": "Make the version before live again.",
        "publish": "Push a proven model to a registry.",
        "export": "A package as one file, to travel without a network.",
        "import": "Such a file into a package here, and live.",
    },
    "Route": {
        "gateway": "Put a model behind a gateway, or take it off.",
    },
    "Pieces": {
        "convert": "Adapter to GGUF, nothing else.",
        "merge": "Adapter into a base GGUF, quantized in the same pass.",
        "modelfile": "Check a Modelfile, or show that of a live model.",
    },
}

_SUMMARIES = {name: summary for commands in SECTIONS.values() for name, summary in commands.items()}
HELP_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100, "auto_envvar_prefix": "GGSHIP"}


class LazyGroup(click.Group):
    """Imports a command's module only when that command is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the sections."""
        return list(_SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        if cmd_name not in _SUMMARIES:
            return None
        name = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        module = importlib.import_module(f"ggship.cli.{name}")
        command: click.Command = getattr(module, name)
        _name_variables(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Like click's, with the nearest name in the error."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], _SUMMARIES, n=1)
            if near:
                raise click.UsageError(f"No such command {args[0]!r}. Did you mean {near[0]!r}?", ctx) from error
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(list(commands.items()), col_max=12)


def _name_variables(command: click.Command) -> None:
    """Let `--help` name the environment variable of every option: click knows no setting for all of them."""
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            parameter.show_envvar = True
    if isinstance(command, click.Group):
        for below in command.commands.values():
            _name_variables(below)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        click.echo(f"ggship {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings=HELP_SETTINGS, invoke_without_command=False)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    allow_from_autoenv=False,  # GGSHIP_VERSION=0.1 is what someone pins, not a wish to see it
    help="Show the version.",
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Turn a trained LoRA into a model people use, proven before it is live.

    \b
    ggship package ./lora-out --name law-helper
    """
    from ggship.cli.terminal import Terminal

    ctx.obj = Terminal()


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    from ggship.cli.funnel import run

    if hasattr(sys.stdout, "reconfigure"):  # what a stdout cannot show is escaped, and no reason to die
        sys.stdout.reconfigure(errors="backslashreplace")
    arguments: list[str] = sys.argv[1:] if argv is None else argv
    sys.exit(run(cli, arguments))
