"""ggship import: a bundle into a package of this machine, and live."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ggship.cli.options import base_option, force_option, host_option, json_option, runtime_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.bundles import Brought


@click.command("import")
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE")
@click.option("--name", help="The public name here (otherwise the one it was made for).")
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", help="The package's folder (otherwise dist/NAME)."
)
@click.option(
    "--verify-key",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Only what this public key in PEM verifies (needs ggship[sign]).",
)
@base_option
@runtime_option
@host_option
@force_option
@json_option
@click.pass_obj
def import_(
    terminal: Terminal,
    bundle: Path,
    name: str | None,
    out: Path | None,
    verify_key: Path | None,
    base: str | None,
    runtime: str,
    host: str | None,
    force: bool,
) -> None:
    """Make the package in FILE, which `ggship export` wrote, one of this machine, and make it live.

    Every digest is checked while it is read. A thin bundle is merged again into the base that this machine has, and
    must come out the same, byte for byte. Nothing live changes until all of it holds.

    \b
    ggship import law-helper.ggship
    """
    from ggship.bundles import BringOptions, bring
    from ggship.bundles.signing import verifier
    from ggship.runtimes.find import find_runtime

    verify = verifier(verify_key) if verify_key else None
    found = None if runtime == "none" else find_runtime(runtime, host)
    try:
        with terminal.steps() as steps:
            done = bring(
                BringOptions(bundle, name, out, base, force),
                runtime=found,
                verify=verify,
                progress=steps,
                on_wait=terminal.wait_note,
            )
    finally:
        if found is not None:
            found.close()
    for warning in done.warnings:
        terminal.warn(warning)
    if terminal.as_json:
        terminal.document(_document(done))
        return
    info, model = done.info, done.info.document["model"]
    if not done.changed:
        terminal.say(f"{info.path} is what this bundle holds: nothing to do.")
        return
    terminal.say(f"{info.name} is live." if model.get("digest") else f"{info.name} is here; no server has it yet.")
    terminal.lines(
        [
            ("package", str(info.path)),
            *(("rebuilt", f"the same bytes, by {words}") for words in [done.rebuilt] if words),
            *(("signature", words) for words in [done.signature] if words),
            *(("prompt", words) for words in [done.prompt] if words),
            *(("runs on", words) for words in [model.get("server")] if words),
            *(("before it", words) for words in [done.previous] if words),
        ]
    )
    terminal.say(f"\n→ ggship eval {info.name}" if model.get("digest") else f"\n→ ggship verify {info.name}")


def _document(done: Brought) -> dict[str, object]:
    model = done.info.document["model"]
    return {
        "name": done.info.name,
        "package": str(done.info.path),
        "changed": done.changed,
        "rebuilt": done.rebuilt or None,
        "signature": done.signature or None,
        "prompt": done.prompt or None,
        "server": model.get("server"),
        "digest": model.get("digest"),
        "previous": done.previous or None,
        "warnings": list(done.warnings),
    }
