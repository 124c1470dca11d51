"""Run -> adapter.gguf."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ggship.convert import convert_adapter
from ggship.digests import digest_of
from ggship.errors import BadFile
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
                "files": self._files(),
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
        before = self._files()

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
        if self._files() != before:
            (work / ADAPTER).unlink()
            raise BadFile(
                "the run changed while it was read",
                where=str(job.run.path),
                hint="wait until training has ended, then run the same command again",
            )
        progress.done(f"{result.pairs} pairs, {result.converter}")
        return {
            "run_files": before,
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

    def _files(self) -> list[dict[str, object]]:
        """What the run's tensor files hold now."""
        return [
            {"file": path.name, "sha256": self._job.digests.sha256(path), "bytes": path.stat().st_size}
            for path in self._job.run.tensor_files
        ]

    def check(self, done: Facts) -> bool:
        """Nothing outside the folder."""
        return True
