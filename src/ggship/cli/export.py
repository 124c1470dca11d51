"""ggship export: a package as one file."""

from __future__ import annotations

from pathlib import Path

import click

from ggship.cli.options import force_option, json_option
from ggship.cli.terminal import Terminal


@click.command()
@click.argument("name")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where the bundle goes, for example law-helper.ggship.",
)
@click.option("--thin", is_flag=True, help="Leave the merged weights out: `ggship import` makes them again, exactly.")
@click.option(
    "--sign",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Sign it with this private key in PEM (needs ggship[sign]; its password in GGSHIP_SIGN_PASSWORD).",
)
@force_option
@json_option
@click.pass_obj
def export(terminal: Terminal, name: str, out: Path, thin: bool, sign: Path | None, force: bool) -> None:
    """Write the package NAME as one file, for `ggship import` on a machine without a network.

    The same package gives the same bytes. With --thin only the adapter, the plan and the digests travel: the other side
    merges them into the base that it has, and proves by sha256 that it is the same model.

    \b
    ggship export law-helper -o law-helper.ggship --thin
    """
    from ggship.bundles import export_package
    from ggship.bundles.signing import signer
    from ggship.card import human_size
    from ggship.digests import sha256_file
    from ggship.releases import load_package

    info = load_package(name)
    signing = signer(sign) if sign else None
    with terminal.steps() as steps:
        done = export_package(info, out, thin=thin, force=force, sign=signing, progress=steps)
    digest = sha256_file(out)
    for warning in done.warnings:
        terminal.warn(warning)
    if terminal.as_json:
        terminal.document(
            {
                "name": info.name,
                "bundle": str(out),
                "sha256": digest,
                "bytes": done.bytes,
                "package_bytes": done.whole,
                "thin": done.manifest.rebuild is not None,
                "base_sha256": done.manifest.rebuild.base_sha256 if done.manifest.rebuild else None,
                "signed": done.signed,
            }
        )
        return
    size = human_size(done.bytes)
    terminal.lines(
        [
            ("bundle", f"{out}, {size}" + (f" in place of {human_size(done.whole)}" if done.needs else "")),
            ("sha256", digest),
            *(("signed", f"with {sign}") for _ in [1] if sign),
            *(("needs", what) for what in [done.needs] if what),
        ]
    )
    terminal.say(f"\n→ ggship import {out.name}")
