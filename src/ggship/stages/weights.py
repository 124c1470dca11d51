"""The weights that the adapter stands on: merged into the base, or the base itself beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ggship.digests import digest_of
from ggship.gguf.installed import kernels_identity
from ggship.package import ADAPTER, BASE
from ggship.pipeline import Facts, link_or_copy
from ggship.progress import Progress, counting
from ggship.stages.job import Job


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

        base = job.weights.file(progress)
        progress.start(self.title, unit="tensors")
        out = work / job.plan.merged_name
        report = merge_adapter(
            base,
            work / ADAPTER,
            out,
            quant=job.plan.quant,
            force=job.options.force,
            # ggship.adapter: so that a merged model on the same server is never taken for a base (bases/search.py).
            metadata={
                "ggship.adapter": facts["convert"]["sha256"],
                **({"tokenizer.chat_template": job.prompt.jinja} if job.prompt.jinja else {}),
            },
            on_tensor=counting(progress),
        )
        progress.done(f"{report.merged} of {report.pairs} pairs, update survival {report.survival:.3f}")
        return {
            "file": out.name,
            "sha256": job.digests.sha256(out),
            "bytes": report.bytes,
            "base_sha256": job.digests.sha256(base),
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

    def check(self, done: Facts) -> bool:
        """Nothing outside the folder."""
        return True


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


def _kernels_words() -> str:
    """The kernels that quantized, for people and without this machine's paths: "libgguf 0.2.2 and libggml-base.so"."""
    from ggship.gguf.quantize import best_kernels

    package = kernels_identity().partition(" and ")[0]
    return best_kernels().name.replace(package.partition(" ")[0], package, 1)
