"""The words of the package: Modelfile, model card, ggship.json, SHA256SUMS."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ggship import __version__
from ggship.bases.portable import portable
from ggship.card import CARD_TEMPLATE, render_card
from ggship.digests import digest_of, sha256_file, write_text
from ggship.modelfile import Modelfile, render
from ggship.package import ADAPTER, BASE, CARD, MODELFILE, SCHEMA, SUMS, write_sums
from ggship.pipeline import Facts
from ggship.place import DOCUMENT
from ggship.progress import Progress
from ggship.runs import Run
from ggship.runs.adapters import FINAL
from ggship.runs.curve import trainer_document, training_document
from ggship.settings import templates_dir
from ggship.stages.job import Job


class DescribeStage:
    """Reads: the facts of all stages before. Writes: Modelfile, README.md, ggship.json, SHA256SUMS.

    Nothing in them depends on the time or on this machine's paths, so that equal runs give equal bytes.
    """

    name = "describe"
    title = "Writing the package"
    outputs: tuple[str, ...] = (MODELFILE, CARD, DOCUMENT, SUMS)

    def __init__(self, job: Job) -> None:
        self._job = job

    def key(self, facts: Mapping[str, Facts]) -> str:
        """Of all that the four files are written from."""
        return digest_of(
            {
                "document": package_document(self._job, facts),
                "modelfile": render(self.modelfile()),
                "card": sha256_file(templates_dir() / CARD_TEMPLATE),
            }
        )

    def run(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> Facts:
        """Write the four files; the checksums come last and cover all others."""
        document = package_document(self._job, facts)
        write_text(work / MODELFILE, render(self.modelfile()))
        write_text(work / CARD, render_card(document))
        write_text(work / DOCUMENT, json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        write_text(work / SUMS, write_sums(work))
        return {}

    def modelfile(self) -> Modelfile:
        """The Modelfile as it lies in the package: valid there, with relative paths."""
        job = self._job
        if job.plan.strategy == "merge":
            source = f"./{job.plan.merged_name}"
        else:
            source = f"./{BASE}" if job.plan.base_file else str(job.base.from_name)
        return Modelfile(
            from_=source,
            adapter=f"./{ADAPTER}" if job.plan.strategy == "adapter" else None,
            template=job.prompt.go,
            system=job.prompt.system,
            parameters=job.asked_with.pairs(job.prompt.stops),
        )

    def check(self, done: Facts) -> bool:
        """Nothing outside the folder."""
        return True


def package_document(job: Job, facts: Mapping[str, Facts]) -> dict[str, Any]:
    """ggship.json: what was made of what, how, and what it scored. Its JSON Schema is in templates/schemas."""
    run, base = job.run, job.base
    created = facts.get("create", {})
    evaluated = facts.get("evaluate", {})
    return {
        "schema": SCHEMA,
        "ggship": __version__,
        "name": job.options.name,
        "strategy": job.plan.strategy,
        "plan": job.plan.document(),
        "run": {
            **_run(run, facts["convert" if "convert" in facts else "merge"]["run_files"]),
            "chosen": _chosen(job),
        },
        "findings": [finding.document() for finding in job.findings],
        "base": {
            "named": portable(run.base_named, hub=True),
            "revision": run.base_revision,
            "used": portable(base.ref),
            "architecture": base.architecture,
            "file_type": base.file_type,
            "ollama": base.from_name,
            "sha256": _base_sha256(job, facts),
            "commit": base.revision,
            "fingerprint": job.fingerprint.document() if job.fingerprint else None,
        },
        "adapter": _without_files(facts.get("convert")),
        "merge": _without_files(facts.get("merge")),
        "prompt": {**job.prompt.document(), "proof": dict(facts["prove"]) if "prove" in facts else None},
        "parameters": job.asked_with.document(),
        "model": {
            "runtime": job.runtime.kind if job.runtime else "none",
            "server": created.get("runtime"),
            "host": job.host,
            "name": job.options.name if created else None,
            "digest": created.get("digest"),
            "notes": list(created.get("notes", [])),
            **({"candidate": True} if job.candidate else {}),
        },
        "eval": dict(evaluated) if evaluated else {"passed": None},
        **({"selection": dict(job.selection)} if job.selection else {}),
    }


def _chosen(job: Job) -> str:
    """Why this adapter of the run: where all were compared the user named none of them."""
    name = job.run.path.name if job.run.path != job.run.root else FINAL
    if job.selection:
        return f"{name}, the best of all checkpoints"
    return f"{name}, one of all checkpoints" if job.candidate else job.run.chosen


def _run(run: Run, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A run, and of a blend each of its runs. files: in the order of `run.tensor_files`."""
    document: dict[str, Any] = {
        "name": run.root.resolve().name,
        "chosen": run.chosen,
        "trainer": run.trainer.name if run.trainer else None,
        "files": list(files),
        "config_sha256": digest_of(run.config),
        "methods": sorted(
            {module.method for module in run.trained} - {"frozen"} | ({"lora"} if run.modules else set())
        ),
        "modules": len(run.modules),
        "parameters": run.parameters,
        "ranks": sorted({module.rank for module in run.modules}),
        "training": {"trainer": trainer_document(run.trainer), **training_document(run, whole=False)},
    }
    if run.shares:
        rest = iter(files)
        document["shares"] = [
            {"weight": share.weight, **_run(share.run, list(islice(rest, len(share.run.tensor_files))))}
            for share in run.shares
        ]
    return document


def _without_files(facts: Facts | None) -> dict[str, Any] | None:
    """What a stage left, None where there was no such stage; the run's files stand in a section of their own."""
    return None if facts is None else {key: value for key, value in facts.items() if key != "run_files"}


def _base_sha256(job: Job, facts: Mapping[str, Facts]) -> str | None:
    """Of the base's own file; the first layer of the model is that file where the server has it under a name."""
    for stage, key in (("merge", "base_sha256"), ("base", "sha256")):
        if stage in facts:
            return str(facts[stage][key])
    layers = facts.get("create", {}).get("layers") or [None]
    return layers[0] if job.plan.strategy == "adapter" else None
