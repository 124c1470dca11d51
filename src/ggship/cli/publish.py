"""ggship publish: push a proven model to a registry."""

from __future__ import annotations

import click

from ggship.cli.options import force_option, host_option, json_option
from ggship.cli.terminal import Terminal


@click.command()
@click.argument("name")
@click.option(
    "--to",
    "to",
    required=True,
    metavar="PLACE",
    help="ollama:HOST[:PORT]/NAMESPACE/NAME[:TAG] for a registry of your own, ollama:NAMESPACE/NAME for ollama.com.",
)
@click.option("--insecure", is_flag=True, help="Plain http to a registry outside this machine and private networks.")
@force_option
@host_option
@json_option
@click.pass_obj
def publish(terminal: Terminal, name: str, to: str, insecure: bool, force: bool, host: str | None) -> None:
    """Push the proven model NAME to a registry, and read its digests back.

    Nothing is pushed unless the package's gates held and the server still holds the very model that passed. Doing it
    again pushes nothing.

    \b
    ggship publish law-helper --to ollama:localhost:5000/ns/law-helper
    """
    import os
    from dataclasses import asdict

    from ggship.progress import ByStatus
    from ggship.publish import need_proof, parse_target, publish_to_registry
    from ggship.releases import load_package
    from ggship.runtimes.ollama_api import OllamaClient

    target = parse_target(to)
    info = load_package(name)
    client = OllamaClient(host or info.host or os.environ.get("OLLAMA_HOST", ""))
    for problem in need_proof(info, client.digest(info.live_name), force=force):
        terminal.warn(problem)
    with terminal.steps() as steps:
        pushing = ByStatus(steps)
        done = publish_to_registry(client, info.live_name, target, insecure=insecure, force=force, on_progress=pushing)
        pushing.done()
    for warning in done.warnings:
        terminal.warn(warning)
    if terminal.as_json:
        terminal.document({"name": info.name, **asdict(done)})
        return
    what = "pushed, and read back" if done.pushed else "already there, nothing was pushed"
    terminal.lines(
        [
            (info.name, what),
            ("reference", done.reference),
            ("digest", done.digest),
            *(("replaced", digest) for digest in [done.replaced] if digest),
            *((layer.kind, f"{layer.digest[7:19]}  {layer.size:,} bytes") for layer in done.layers),
        ]
    )
