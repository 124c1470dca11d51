"""ggship publish: push a proven model to a registry."""

from __future__ import annotations

import click

from ggship.cli.options import force_option, host_option, json_option
from ggship.cli.terminal import Steps, Terminal


@click.command()
@click.argument("name")
@click.option(
    "--to",
    "to",
    required=True,
    metavar="PLACE",
    show_envvar=True,
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

    from ggship.publish import need_proof, parse_target, publish_to_registry
    from ggship.releases import load_package
    from ggship.runtimes.ollama_api import OllamaClient

    target = parse_target(to)
    info = load_package(name)
    client = OllamaClient(host or info.host or os.environ.get("OLLAMA_HOST", ""))
    for problem in need_proof(info, client.digest(info.live_name), force=force):
        terminal.warn(problem)
    with terminal.steps() as steps:
        done = publish_to_registry(
            client, info.live_name, target, insecure=insecure, force=force, on_progress=_Bars(steps)
        )
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


class _Bars:
    """Shows Ollama's progress lines: one step a layer."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._status = ""
        self._completed = 0

    def __call__(self, status: str, completed: int, total: int) -> None:
        if status == "success":
            self._steps.done()
        elif status != self._status:
            if self._status:
                self._steps.done()
            self._status, self._completed = status, 0
            self._steps.start(status, total or None, "bytes" if total else "")
        if total:
            self._steps.advance(completed - self._completed, total)
            self._completed = completed
