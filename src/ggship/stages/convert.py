"""Run -> adapter.gguf."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ggship.convert import convert_adapter
from ggship.digests import digest_of
from ggship.package import ADAPTER
from ggship.pipeline import Facts, Progress
from ggship.stages.job import Job


class ConvertStage:
    """Reads: the run's tensors and config, the base's dimensions. Writes: adapter.gguf."""

    name = "convert"
    title = "Converting the adapter"
    outputs: tuple[str, ...] = (ADAPTER,)

    def __init__(self, job: Job) -> None:
        self._job = job

    def key(self, facts: Mapping[str, Facts]) -> str:
        """Of tensors, config, dimensions of the base, converter, precision."""
        job = self._job
        return digest_of(
            {
                **job.identity(),
                "files": {path.name: job.digests.sha256(path) for path in job.run.tensor_files},
                "config": job.run.config,
                "architecture": job.base.architecture,
                "base": {
                    key: value for key, value in job.base.metadata.items() if isinstance(value, int | float | str)
                },
                "converter": job.options.converter,
                "outtype": job.options.outtype,
            }
        )

    def run(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> Facts:
        """Convert, tensor by tensor."""
        job = self._job
        progress.start(self.title, unit="tensors")
        done = 0

        def advance(count: int, total: int) -> None:
            nonlocal done
            progress.advance(count - done, total)
            done = count

        result = convert_adapter(
            job.run,
            work / ADAPTER,
            base=job.base,
            converter=job.options.converter,
            outtype=job.options.outtype,
            force=job.options.force,
            runner=job.runner,
            on_tensor=advance,
        )
        progress.done(f"{result.pairs} pairs, {result.converter}")
        return {
            "file": ADAPTER,
            "sha256": job.digests.sha256(work / ADAPTER),
            "bytes": result.bytes,
            "pairs": result.pairs,
            "converter": result.converter,
            "converter_version": result.converter_version,
            "outtype": result.outtype,
            "alpha": result.alpha,
            "folded": list(result.folded),
        }

    def check(self, done: Facts) -> bool:
        """Nothing outside the folder."""
        return True
