"""Which engines there are, and their files written into a folder."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ggship.digests import write_text
from ggship.errors import UsageError
from ggship.package import PackageInfo
from ggship.pipeline import link_or_copy
from ggship.serving.beside_base import ray_serve, sglang, vllm
from ggship.serving.compose import compose
from ggship.serving.kubernetes import kubernetes
from ggship.serving.llama_server import llama_server
from ggship.serving.model import Kit, Options, Served

ENGINES: Mapping[str, Callable[[Served], Kit]] = {
    "vllm": vllm,
    "sglang": sglang,
    "llama-server": llama_server,
    "ray-serve": ray_serve,
    "kubernetes": kubernetes,
    "compose": compose,
}
MARK = "README.md"
SUITE = "suite.yaml"
_BEGINS = "# Serving "


def make_kit(info: PackageInfo, engine: str, options: Options | None = None) -> Kit:
    """The files of that engine for a package. Refused where the engine would serve something else than was trained."""
    return ENGINES[engine](Served.of(info, options or Options()))


def write_kit(kit: Kit, folder: Path, *, name: str, engine: str, suite: str = "") -> tuple[Path, ...]:
    """Write the files, a README.md, and the suite (YAML) to prove it with; large ones are hard links where the disk
    allows it. Their paths.

    UsageError where the folder holds something else than such files.
    """
    readme = folder / MARK
    ours = readme.is_file() and readme.read_text("utf-8").startswith(_BEGINS)
    if folder.exists() and any(folder.iterdir()) and not ours:
        raise UsageError("the folder holds something else", where=str(folder), hint="choose another with --out")
    written = []
    files: dict[str, str | Path] = {**kit.files, MARK: _readme(kit, name, engine, suite)}
    if suite:
        files[SUITE] = suite
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            target.unlink(missing_ok=True)
            link_or_copy(content, target)
        else:
            write_text(target, content)
            if path.endswith(".sh"):
                target.chmod(0o755)
        written.append(target)
    return tuple(written)


def _readme(kit: Kit, name: str, engine: str, suite: str) -> str:
    proof = f"ggship eval {kit.url}#{name}" + (f" --suite {SUITE}" if suite else "")
    lines = [f"{_BEGINS}{name} with {engine}", "", f"    {kit.start}", "", "Prove what runs there:", "", f"    {proof}"]
    lines += ["", *(f"* {note}" for note in kit.notes)] if kit.notes else []
    return "\n".join(lines) + "\n"


def suite_of(info: PackageInfo) -> str:
    """The package's suite for where no base is beside the model: without the gates that compare, held to the pass rate
    that was proven where none is left. "" where the package has no suite.
    """
    from ggship.evals.codec import read_report
    from ggship.evals.dump import render_suite
    from ggship.evals.gates import parse_gate
    from ggship.evals.load import load_suite

    packed, report = info.file("eval/suite.yaml"), info.file("eval/report.json")
    if packed is None:
        return ""
    suite = load_suite(packed)
    rules = tuple(rule for rule in suite.gates if not parse_gate(rule, suite.metrics, suite.tags).needs_base)
    proven = read_report(report).tuned.pass_rate if report else None
    if not rules and proven is not None:
        rules = (f"pass_rate >= {math.floor(proven * 1000) / 1000:g}",)
    return render_suite(replace(suite, gates=rules))
