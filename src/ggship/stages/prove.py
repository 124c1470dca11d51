"""The prompt that the server really renders, held against the one of training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ggship.digests import digest_of
from ggship.errors import PromptMismatch
from ggship.pipeline import Facts
from ggship.progress import Progress
from ggship.prompts.bos import file_adds_bos, metadata_adds_bos
from ggship.prompts.parity import prove_prompts
from ggship.prompts.probes import PROBES
from ggship.runtimes.model import Endpoint, Runtime
from ggship.stages.create import CreateStage
from ggship.stages.job import Job


class ProveStage:
    """Reads: the created model. Lets nothing pass that would be asked with another prompt than it was trained on."""

    name = "prove"
    title = "Proving the prompt"
    outputs: tuple[str, ...] = ()

    def __init__(self, job: Job, runtime: Runtime, create: CreateStage) -> None:
        self._job = job
        self._runtime = runtime
        self._create = create

    def key(self, facts: Mapping[str, Facts]) -> str:
        """Of the model, the training template, and whether a difference was to stop it."""
        return digest_of(
            {
                **self._job.identity(),
                "model": facts["create"]["digest"],
                "jinja": self._job.prompt.jinja,
                "system": self._job.options.system,
                "force": self._job.options.force,
            }
        )

    def run(self, work: Path, facts: Mapping[str, Facts], progress: Progress) -> Facts:
        """Render a few conversations on the server and compare. Raises PromptMismatch with the first difference."""
        chat = self._job.prompt.chat
        if chat is None:
            return {"probes": 0, "equal": 0, "skipped": [], "differences": []}
        subject = self._create.subject(work, str(facts["create"]["digest"]), progress)
        progress.start(self.title)
        endpoint = self._runtime.endpoint(subject, think=self._job.think)
        model = self._job.spec(work).model
        adds = file_adds_bos(model) if model else metadata_adds_bos(self._job.base.metadata)
        proof = prove_prompts(chat, endpoint.render, system=self._job.options.system, adds_bos=adds)
        if not proof.holds and not self._job.options.force:
            raise PromptMismatch(
                f"{self._runtime.describe()} renders another prompt than training did "
                f"({len(proof.differences)} of {proof.probes} conversations)",
                where=str(proof.differences[0]) if proof.differences else "the template refuses every conversation",
                hint="nothing was promoted; --template names the prompt of training where this is not it",
            )
        progress.done(f"{proof.equal} of {proof.probes} conversations as in training")
        return {**proof.document(), "unasked": self._unasked(subject, endpoint)}

    def _unasked(self, subject: str, endpoint: Endpoint) -> bool | None:
        """Whether clients that say nothing of thinking get the prompt that was proven; None where it has none."""
        client = getattr(self._runtime, "client", None)
        if client is None or self._job.prompt.thinking is None:
            return None
        asked = [probe.messages for probe in PROBES[:2]]
        return all(client.render(subject, messages) == endpoint.render(messages) for messages in asked)

    def check(self, done: Facts) -> bool:
        """Nothing outside the folder."""
        return True
