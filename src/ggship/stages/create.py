"""The model on the runtime, under a staging name that nobody uses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ggship.digests import digest_of
from ggship.errors import ServerError
from ggship.pipeline import Facts
from ggship.progress import ByStatus, Progress
from ggship.releases.promotion import staging_name
from ggship.runtimes.model import Created, Runtime
from ggship.stages.job import Job


class CreateStage:
    """Reads: the model files. Makes: NAME:ggship-staging on the runtime."""

    name = "create"
    title = "Creating the model"
    outputs: tuple[str, ...] = ()

    def __init__(self, job: Job, runtime: Runtime) -> None:
        self._job = job
        self._runtime = runtime

    def key(self, facts: Mapping[str, Facts]) -> str:
        """Of the files, template, system, parameters, and the server."""
        job = self._job
        return digest_of(
            {
                **job.identity(),
                "name": job.options.name,
                "runtime": self._runtime.describe(),
                "files": {name: facts[name]["sha256"] for name in ("convert", "merge", "base") if name in facts},
                "from": None if job.plan.strategy == "merge" or job.plan.base_file else job.base.from_name,
                "template": job.prompt.go,
                "jinja": job.prompt.jinja,
                "system": job.prompt.system,
                "parameters": job.parameters(),
            }
        )

    def run(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> Facts:
        """Upload and create."""
        created = self._create(work, progress)
        return {
            "digest": created.digest,
            "layers": list(created.layers),
            "runtime": self._runtime.describe(),
            "notes": list(created.notes),
        }

    def _create(self, work: Path, progress: Progress) -> Created:
        steps = ByStatus(progress, self.title)
        created = self._runtime.create(staging_name(self._job.options.name), self._job.spec(work), steps)
        steps.done(self._runtime.describe())
        return created

    def check(self, done: Facts) -> bool:
        """The model is still there, in staging or live. The embedded runtime holds nothing between two runs.

        A candidate is taken away when it was asked; `subject` makes it again where it must be asked once more.
        """
        if self._runtime.kind == "embedded" or self._job.candidate:
            return True
        return holder(self._runtime, self._job.options.name, str(done["digest"])) is not None

    def subject(self, work: Path, digest: str, progress: Progress) -> str:
        """The name under which exactly that model can be asked now; made again where it is gone."""
        name = holder(self._runtime, self._job.options.name, digest)
        if name:
            return name
        created = self._create(work, progress)
        if created.digest != digest:
            raise ServerError(
                "the server made another model of the same files", where=f"{created.digest}, before: {digest}"
            )
        return created.name


def holder(runtime: Runtime, name: str, digest: str) -> str | None:
    """The name, staging or public, under which the runtime holds exactly that model."""
    for candidate in (staging_name(name), name):
        if runtime.digest(candidate) == digest:
            return candidate
    return None
