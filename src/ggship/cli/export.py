"""ggship export: a package as one file."""

from __future__ import annotations

from pathlib import Path

import click

from ggship.cli.options import force_option, json_option
from ggship.cli.terminal import Terminal
from ggship.errors import UsageError

ENGINES = ("vllm", "sglang", "llama-server", "ray-serve", "kubernetes", "compose")


@click.command()
@click.argument("name")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Where the bundle goes, for example law-helper.ggship; with --for, the folder.",
)
@click.option("--thin", is_flag=True, help="Leave the merged weights out: `ggship import` makes them again, exactly.")
@click.option("--for", "engine", type=click.Choice(ENGINES), help="Files for an engine in place of a bundle.")
@click.option("--base-repo", default="", metavar="ORG/MODEL", help="vllm, sglang, ray-serve: the base that they load.")
@click.option("--image", default="", metavar="REF", help="kubernetes: the OCI image that holds the model.")
@click.option("--url", default="", help="kubernetes: where the GGUF is downloaded from, in place of an image.")
@click.option("--lora-root", default="", metavar="URL", help="ray-serve: the bucket's folder that holds adapters.")
@click.option(
    "--sign",
    type=click.Path(path_type=Path),
    metavar="KEY",
    help="Sign it with this private key in PEM (needs ggship[sign]; its password in GGSHIP_SIGN_PASSWORD).",
)
@force_option
@json_option
@click.pass_obj
def export(
    terminal: Terminal,
    /,
    name: str,
    out: Path,
    thin: bool,
    sign: Path | None,
    engine: str | None,
    force: bool,
    **where: str,
) -> None:
    """Write the package NAME as one file, for `ggship import` on a machine without a network.

    The same package gives the same bytes. With --thin only the adapter, the plan and the digests travel: the other side
    merges them into the base that it has, and proves by sha256 that it is the same model.

    \b
    ggship export law-helper -o law-helper.ggship --thin

    With --for, ready-to-run files for an engine that serves many people: docs/serving.md.

    \b
    ggship export law-helper --for vllm -o serve/
    """
    from ggship.bundles import export_package
    from ggship.bundles.signing import signer
    from ggship.card import human_size
    from ggship.digests import sha256_file
    from ggship.releases import load_package

    info = load_package(name)
    if engine:
        from ggship.cli.export_engine import export_for

        export_for(terminal, info, engine, out, where, force=force, bundle=thin or sign is not None)
        return
    for option in (key.replace("_", "-") for key, value in where.items() if value):
        raise UsageError(f"--{option} is for an engine", hint="name it with --for")
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
