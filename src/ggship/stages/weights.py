"""The weights that the adapter stands on: merged into the base, or the base itself beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship.convert.versions import merger_version
from ggship.digests import digest_of
from ggship.gguf.installed import kernels_identity
from ggship.package import ADAPTER, BASE
from ggship.pipeline import Facts, link_or_copy
from ggship.progress import Progress, counting
from ggship.stages.job import Job

if TYPE_CHECKING:
    from ggship.gguf.merge import MergeReport


class MergeStage:
    """Reads: base, adapter.gguf. Writes: model.<quant>.gguf, quantized in the same pass."""

    name = "merge"
    title = "Merging into the base"

    def __init__(self, job: Job) -> None:
        self._job = job
        self.outputs: tuple[str, ...] = (job.plan.merged_name,)

    def key(self, facts: Mapping[str, Facts]) -> str:
        """Of base, adapter, quantization, chat template, and what quantizes."""
        job = self._job
        return digest_of(
            {
                **job.identity(),
                "kernels": kernels_identity(),
                "base": job.weights.key(),
                "adapter": facts["convert"]["sha256"],
                "quant": job.plan.quant,
                "force": job.options.force,
                "jinja": job.prompt.jinja,
            }
        )

    def run(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> Facts:
        """Merge and quantize in one pass."""
        job = self._job
        from ggship.gguf.merge import merge_adapter

        base = job.weights.source(progress)
        progress.start(self.title, unit="tensors")
        out = work / job.plan.merged_name
        report = merge_adapter(
            base,
            work / ADAPTER,
            out,
            quant=job.plan.quant,
            force=job.options.force,
            metadata=_metadata(job, str(facts["convert"]["sha256"])),
            on_tensor=counting(progress),
        )
        progress.done(f"{report.merged} of {report.pairs} pairs, update survival {report.survival:.3f}")
        return _merge_facts(job, report, out, base, "ggship")

    def check(self, done: Facts) -> bool:
        """Nothing outside the folder."""
        return True


class MergeRunStage:
    """What no adapter can carry, merged straight from the run. Reads: run, base. Writes: model.<quant>.gguf."""

    name = "merge"
    title = "Merging into the base"

    def __init__(self, job: Job) -> None:
        self._job = job
        self.outputs: tuple[str, ...] = (job.plan.merged_name,)

    def key(self, facts: Mapping[str, Facts]) -> str:
        """Of base, run, route, quantization, chat template, and what merges and quantizes."""
        job = self._job
        return digest_of(
            {
                **job.identity(),
                "kernels": kernels_identity(),
                "base": job.weights.key(),
                "run": self._adapter(),
                **job.shares(),
                "route": [job.plan.route.kind, merger_version(job.plan.route.kind)],
                "quant": job.plan.quant,
                "force": job.options.force,
                "jinja": job.prompt.jinja,
            }
        )

    def run(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> Facts:
        """Merge and quantize in one pass."""
        job = self._job
        from ggship.convert.merging import merge_run

        # Only PEFT needs a split model in one file.
        base = job.weights.file(progress) if job.plan.route.kind == "peft" else job.weights.source(progress)
        progress.start(self.title, unit="tensors")
        out, before = work / job.plan.merged_name, job.run_files()
        done = merge_run(
            job.run,
            replace(job.base, gguf=base),
            out,
            route=job.plan.route,
            quant=job.plan.quant,
            force=job.options.force,
            metadata=_metadata(job, self._adapter()),
            runner=job.runner,
            on_tensor=counting(progress),
        )
        job.require_unchanged(before, out)
        progress.done(f"{done.report.merged} tensors, update survival {done.report.survival:.3f}")
        return {"run_files": before, **_merge_facts(job, done.report, out, base, done.by)}

    def check(self, done: Facts) -> bool:
        """Nothing outside the folder."""
        return True

    def _adapter(self) -> str:
        """What stands for the adapter where there is no adapter file: a digest of its tensors and its config."""
        return digest_of({"files": self._job.run_files(), "config": self._job.run.config})


class BaseStage:
    """The base's own file, put beside the adapter where no server holds it under a name. Writes: base.gguf."""

    name = "base"
    title = "Bringing the base"
    outputs: tuple[str, ...] = (BASE,)

    def __init__(self, job: Job) -> None:
        self._job = job

    def key(self, facts: Mapping[str, Facts]) -> str:
        """Of the base alone."""
        return digest_of({"base": self._job.weights.key()})

    def run(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> Facts:
        """A hard link where the disk allows it, else a copy."""
        source = self._job.weights.file(progress)
        progress.start(self.title)
        (work / BASE).unlink(missing_ok=True)
        link_or_copy(source, work / BASE)
        progress.done(source.name)
        return {"file": BASE, "sha256": self._job.digests.sha256(source), "bytes": source.stat().st_size}

    def check(self, done: Facts) -> bool:
        """Nothing outside the folder."""
        return True


def _metadata(job: Job, adapter: str) -> dict[str, str]:
    """ggship.adapter: so that a merged model on the same server is never taken for a base (bases/search.py)."""
    return {"ggship.adapter": adapter, **({"tokenizer.chat_template": job.prompt.jinja} if job.prompt.jinja else {})}


def _merge_facts(job: Job, report: MergeReport, out: Path, base: Path, by: str) -> dict[str, Any]:
    return {
        "file": out.name,
        "sha256": job.digests.sha256(out),
        "bytes": report.bytes,
        "base_sha256": _sha256(job, base),
        "by": by,
        "kernels": _kernels_words(),
        "quant": job.plan.quant,
        "pairs": report.pairs,
        "merged": report.merged,
        "survival": report.survival,
        "tensors": [
            {
                "name": tensor.name,
                "from": tensor.from_type,
                "to": tensor.to_type,
                "survival": tensor.survival,
                "relative_update": tensor.relative_update,
            }
            for tensor in report.tensors
        ],
    }


def _sha256(job: Job, base: Path) -> str:
    """Of the base's file; of a split model, over the digests of its parts."""
    from ggship.gguf.parts import files_of

    digests = [job.digests.sha256(path) for path in files_of(base)]
    return digests[0] if len(digests) == 1 else digest_of({"parts": digests})


def _kernels_words() -> str:
    """The kernels that quantized, for people and without this machine's paths: "libgguf 0.2.2 and libggml-base.so"."""
    from ggship.gguf.quantize import best_kernels

    package = kernels_identity().partition(" and ")[0]
    return best_kernels().name.replace(package.partition(" ")[0], package, 1)
