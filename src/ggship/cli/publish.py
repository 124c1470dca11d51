"""ggship publish: bring a proven model to a registry, or to the Hugging Face hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ggship.cli.options import force_option, host_option, json_option
from ggship.cli.terminal import Terminal

if TYPE_CHECKING:
    from ggship.package import PackageInfo
    from ggship.publish import HubPlace, Target


@click.command()
@click.argument("name")
@click.option(
    "--to",
    "to",
    required=True,
    metavar="PLACE",
    help="ollama:HOST[:PORT]/NAMESPACE/NAME[:TAG] for a registry of your own, ollama:NAMESPACE/NAME for ollama.com,"
    " hf:USER/REPO for the Hugging Face hub.",
)
@click.option("--public", is_flag=True, help="Make a new repository on the hub public (otherwise it is private).")
@click.option("--insecure", is_flag=True, help="Plain http to a registry outside this machine and private networks.")
@force_option
@click.option("--dry-run", is_flag=True, help="Show what would be sent, and send nothing.")
@host_option
@json_option
@click.pass_obj
def publish(
    terminal: Terminal, name: str, to: str, public: bool, insecure: bool, force: bool, dry_run: bool, host: str | None
) -> None:
    """Publish the proven model NAME, and read its digests back.

    Nothing leaves unless the package's gates held. To a registry goes the very model that passed, from the server; to
    the hub the package's files, in one commit. Doing it again sends nothing.

    \b
    ggship publish law-helper --to ollama:localhost:5000/ns/law-helper
    ggship publish law-helper --to hf:me/law-helper
    """
    from ggship.publish import HubPlace, parse_place
    from ggship.releases import load_package

    place = parse_place(to)
    info = load_package(name)
    if isinstance(place, HubPlace):
        _to_hub(terminal, info, place, private=not public, force=force, dry_run=dry_run)
    else:
        _to_registry(terminal, info, place, insecure=insecure, force=force, dry_run=dry_run, host=host)


def _to_hub(
    terminal: Terminal, info: PackageInfo, place: HubPlace, *, private: bool, force: bool, dry_run: bool
) -> None:
    import os

    from ggship.cli.publish_view import hub_document, hub_lines
    from ggship.publish import need_passed
    from ggship.publish.hub import HUB, hub_token, publish_to_hub
    from ggship.publish.hub_files import hub_files
    from ggship.verify import verify_package

    for problem in need_passed(info, force=force):
        terminal.warn(problem)
    verify_package(info)
    files, notes = hub_files(info, place)
    with terminal.steps() as steps:
        done = publish_to_hub(
            files,
            place,
            message=f"{info.name}, by ggship",
            token=hub_token(),
            endpoint=(os.environ.get("HF_ENDPOINT") or HUB).rstrip("/"),
            private=private,
            dry_run=dry_run,
            notes=notes,
            progress=steps,
        )
    for note in notes:
        terminal.warn(note)
    if terminal.as_json:
        terminal.document(hub_document(info, done))
    else:
        terminal.lines(hub_lines(info, done))


def _to_registry(
    terminal: Terminal,
    info: PackageInfo,
    target: Target,
    *,
    insecure: bool,
    force: bool,
    dry_run: bool,
    host: str | None,
) -> None:
    import os
    from dataclasses import asdict

    from ggship.cli.publish_view import registry_lines
    from ggship.progress import ByStatus
    from ggship.publish import need_proof, publish_to_registry
    from ggship.runtimes.ollama_api import OllamaClient

    client = OllamaClient(host or info.host or os.environ.get("OLLAMA_HOST", ""))
    for problem in need_proof(info, client.digest(info.live_name), force=force):
        terminal.warn(problem)
    with terminal.steps() as steps:
        pushing = ByStatus(steps)
        done = publish_to_registry(
            client, info.live_name, target, insecure=insecure, force=force, dry_run=dry_run, on_progress=pushing
        )
        pushing.done()
    for warning in done.warnings:
        terminal.warn(warning)
    if terminal.as_json:
        terminal.document({"name": info.name, **asdict(done)})
    else:
        terminal.lines(registry_lines(info, done))
