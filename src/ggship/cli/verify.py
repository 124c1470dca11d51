"""`ggship verify`: recompute every digest and law of a package; on request, hold it against what was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ggship.cli.options import allow_pickle_option, base_option, host_option, json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.package import PackageInfo, Verified
    from ggship.reference import Proof


@click.command()
@click.argument("package", metavar="PACKAGE|NAME")
@click.option(
    "--reference",
    is_flag=True,
    help="Compare it, token by token, with base + adapter in Transformers and PEFT (needs ggship[hf]).",
)
@click.option("--run", type=click.Path(path_type=Path), metavar="RUN", help="The run, where ggship does not know it.")
@base_option
@host_option
@click.option("--suite", type=click.Path(path_type=Path), help="Other prompts than those of the package's suite.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="So many prompts of the suite.  [all]")
@click.option("--tokens", type=click.IntRange(1, 4096), default=32, show_default=True, help="Tokens of each answer.")
@click.option(
    "--whole",
    type=click.IntRange(0, 4096),
    default=4,
    show_default=True,
    help="Tokens of each answer where the whole vocabulary is compared.",
)
@click.option(
    "--at-least", type=click.FloatRange(0, 1), metavar="SHARE", help="Tokens that must agree.  [0.99 where 16 bits]"
)
@allow_pickle_option
@json_option
@click.pass_obj
def verify(
    terminal: Terminal,
    package: str,
    reference: bool,
    run: Path | None,
    base: str | None,
    host: str | None,
    suite: Path | None,
    limit: int | None,
    tokens: int,
    whole: int,
    at_least: float | None,
    allow_pickle: bool,
) -> None:
    """Recompute every digest and law of PACKAGE; 0 only if all hold.

    With --reference, base + adapter answer the suite's prompts in Transformers too, and the package must say the same:
    exit 3 where it does not. The figures go into its report.
    """
    from ggship.errors import UsageError
    from ggship.releases import load_package
    from ggship.verify import verify_package

    if not reference and (run or base or suite or limit or at_least is not None):
        raise UsageError("--run, --base, --suite, --limit and --at-least are for --reference", hint="add --reference")
    info = load_package(package)
    verified = verify_package(info)
    proof = None
    if reference:
        from ggship.reference import Extent, prove

        with terminal.steps() as steps:
            proof = prove(
                info,
                run=run,
                base=base,
                host=host,
                suite=suite,
                allow_pickle=allow_pickle,
                extent=Extent(limit, tokens, whole),
                at_least=at_least,
                progress=steps,
            )
    show(terminal, info, verified, proof)


def show(terminal: Terminal, info: PackageInfo, verified: Verified, proof: Proof | None) -> None:
    """What holds. Raises GateFailed where the package is not what was trained."""
    from ggship.card import human_size
    from ggship.errors import GateFailed

    if terminal.as_json:
        laws = {"name": info.name, "files": verified.files, "bytes": verified.bytes, "laws": list(verified.laws)}
        terminal.document({**laws, "reference": _document(proof)} if proof else laws)
    else:
        for law in verified.laws:
            terminal.say(f"✓ {law}")
        terminal.say(f"\n{info.path}: {verified.files} files, {human_size(verified.bytes)}, all as they were made.")
        if proof:
            show_proof(terminal, info, proof)
    if proof and not proof.found.passed:
        raise GateFailed(
            f"{info.name} is not what was trained",
            where="\n".join(proof.found.reasons),
            hint=f"make it again: ggship package RUN --name {info.name}",
        )


def _document(proof: Proof) -> dict[str, Any]:
    from dataclasses import asdict

    found = asdict(proof.found)
    return {**found, "passed": proof.found.passed, "reasons": list(proof.found.reasons), "recorded": proof.recorded}


def show_proof(terminal: Terminal, info: PackageInfo, proof: Proof) -> None:
    """The figures, and where they stand."""
    from ggship.evals.reference import figures

    terminal.say()
    terminal.say(f"Against base + adapter in Transformers and PEFT ({proof.found.model}, {proof.found.precision}):")
    terminal.lines(figures(proof.found))
    if proof.recorded:
        terminal.say(f"→ {info.path / 'eval' / 'report.html'}")
    else:
        terminal.note("The package was never evaluated, so it has no report to keep these figures in.")
