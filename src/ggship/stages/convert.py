"""Run -> adapter.gguf."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ggship.convert import choose_converter, convert_adapter
from ggship.convert.versions import converter_version, metadata_files
from ggship.digests import digest_of
from ggship.package import ADAPTER
from ggship.pipeline import Facts
from ggship.progress import Progress, counting
from ggship.stages.job import Job


class ConvertStage:
    """Reads: the run's tensors, config and model card, the base's dimensions. Writes: adapter.gguf."""

    name = "convert"
    title = "Converting the adapter"
    outputs: tuple[str, ...] = (ADAPTER,)

    def __init__(self, job: Job) -> None:
        self._job = job

    def key(self, facts: Mapping[str, Facts]) -> str:
        """Of tensors, config, what the metadata is read from, dimensions of the base, converter, precision."""
        job = self._job
        chosen, _ = choose_converter(job.run, job.base, job.options.converter)
        return digest_of(
            {
                **job.identity(),
                "files": job.run_files(),
                "config": job.run.config,
                "folder": job.run.path.resolve().name,
                "metadata": {path.name: job.digests.sha256(path) for path in metadata_files(job.run.path)},
                "architecture": job.base.architecture,
                "base": {
                    key: value for key, value in job.base.metadata.items() if isinstance(value, int | float | str)
                },
                "base_config": self._base_config(),
                "converter": [chosen, converter_version(chosen)],
                "outtype": job.options.outtype,
                "force": job.options.force,
                **job.shares(),
            }
        )

    def run(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> Facts:
        """Convert, tensor by tensor."""
        job = self._job
        progress.start(self.title, unit="tensors")
        before = job.run_files()
        result = convert_adapter(
            job.run,
            work / ADAPTER,
            base=job.base,
            converter=job.options.converter,
            outtype=job.options.outtype,
            force=job.options.force,
            runner=job.runner,
            on_tensor=counting(progress),
        )
        job.require_unchanged(before, work / ADAPTER)
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

    def _base_config(self) -> str | None:
        """What the base's own folder says of it, where it is one: the vendored converter reads all of that."""
        folder = self._job.base.config_dir
        return self._job.digests.sha256(folder / "config.json") if folder else None

    def check(self, done: Facts) -> bool:
        """Nothing outside the folder."""
        return True
