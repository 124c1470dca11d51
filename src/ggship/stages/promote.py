"""The last step: the proven model under its public name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ggship.digests import digest_of
from ggship.errors import GateFailed
from ggship.pipeline import Facts
from ggship.progress import Progress
from ggship.releases.proofs import proof_of
from ggship.releases.releasing import release
from ggship.runtimes.model import Runtime
from ggship.stages.create import CreateStage
from ggship.stages.job import Job


class PromoteStage:
    """Reads: the verdict. Changes what is live, and nothing else does."""

    name = "promote"
    title = "Making it live"
    outputs: tuple[str, ...] = ()

    def __init__(self, job: Job, runtime: Runtime, create: CreateStage) -> None:
        self._job = job
        self._runtime = runtime
        self._create = create

    def key(self, facts: Mapping[str, Facts]) -> str:
        """Of the model, the name and the verdict."""
        return digest_of(
            {
                "name": self._job.options.name,
                "model": facts["create"]["digest"],
                "passed": facts["evaluate"]["passed"],
                "runtime": self._runtime.describe(),
            }
        )

    def run(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> Facts:
        """Copy staging onto the public name. Raises GateFailed where the proof does not hold."""
        verdict = facts["evaluate"]
        digest = str(facts["create"]["digest"])
        if not verdict["passed"]:
            raise self._failed(digest, verdict["failures"])
        if self._runtime.kind == "embedded":
            return {"name": self._job.options.name, "digest": digest, "previous": ""}
        progress.start(self.title)
        subject = self._create.subject(work, digest, progress)
        options = self._job.options
        proof = proof_of(verdict, str(options.folder.resolve()))
        released = release(self._runtime, subject, options.name, digest, proof, clock=self._job.clock)
        promotion = released.promotion
        progress.done(f"{promotion.name}, v{released.version}")
        return {
            "name": promotion.name,
            "digest": promotion.digest,
            "previous": promotion.previous,
            "version": released.version,
        }

    def _failed(self, digest: str, failures: Sequence[str]) -> GateFailed:
        name = self._job.options.name
        live = self._runtime.kind != "embedded" and self._runtime.digest(name) == digest
        what = "the very same model is live, since before this run" if live else "is not live"
        return GateFailed(f"{name} did not pass{';' if live else ' and'} {what}", where="\n".join(failures))

    def check(self, done: Facts) -> bool:
        """The public name still answers with the proven model."""
        if self._runtime.kind == "embedded":
            return True
        return bool(self._runtime.digest(str(done["name"])) == done["digest"])
