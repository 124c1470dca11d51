"""The prompt that the server really renders, held against the one of training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ggship.digests import digest_of
from ggship.errors import PromptMismatch
from ggship.pipeline import Facts
from ggship.progress import Progress
from ggship.prompts.bos import file_adds_bos, metadata_adds_bos
from ggship.prompts.parity import PromptProof, prove_prompts
from ggship.prompts.preference import template_preference
from ggship.prompts.probes import PROBES
from ggship.prompts.tokenparity import TOKEN_PROBES, TokenProof, prove_tokens
from ggship.prompts.vocabulary import training_tokens
from ggship.runtimes.model import Endpoint, Runtime
from ggship.stages.create import CreateStage
from ggship.stages.job import Job


def _overridden(go: str, jinja: str | None) -> bool:
    return template_preference(go, jinja) == "jinja"


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
                "system": self._job.prompt.system,
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
        given: dict[str, Any] = {"system": self._job.prompt.system, "adds_bos": adds}
        with_tools = endpoint.render if endpoint.takes_tools() else None
        proof = prove_prompts(chat, endpoint.render, render_tools=with_tools, **given)
        # Where the text is not told the number of its tokens is all there is: then of every conversation.
        asked = PROBES if proof.silent else TOKEN_PROBES
        tokens = training_tokens(self._job.run, self._job.base)
        counted = prove_tokens(chat, endpoint.prompt_tokens, tokens, probes=asked, **given)
        if proof.silent and counted.probes:
            proof = PromptProof(counted.probes, counted.equal, (), proof.skipped, by="number")
        if not self._job.options.force:
            if proof.by == "text" and not proof.holds:
                raise self._refused(proof)
            if not counted.holds:
                raise self._miscounted(counted, by_text=proof.by == "text")
        how = f", {counted.equal} by {counted.by}" if counted.by and proof.by == "text" else ""
        told = "" if proof.by == "text" else " by the number of their tokens: the server does not tell more"
        progress.done(f"{proof.equal} of {proof.probes} conversations as in training{told}{how}")
        return {**proof.document(), "tokens": counted.document(), "unasked": self._unasked(subject, endpoint)}

    def _miscounted(self, counted: TokenProof, *, by_text: bool) -> PromptMismatch:
        hint = "nothing was promoted; is it the base, and the tokenizer, of training?"
        if not by_text:
            hint = "nothing was promoted; --template names the prompt of training where this is not it"
        return PromptMismatch(
            f"{self._runtime.describe()} reads other tokens than training did", where=counted.differences[0], hint=hint
        )

    def _refused(self, proof: PromptProof) -> PromptMismatch:
        if proof.silent:
            return PromptMismatch(
                f"{self._runtime.describe()} tells neither what it renders nor how many tokens that has",
                where=f"asked for {proof.probes} conversations",
                hint="nothing was promoted; Ollama tells since 0.11.5, and --force ships without this proof",
            )
        hint = "nothing was promoted; --template names the prompt of training where this is not it"
        job = self._job
        if job.plan.strategy == "adapter" and not job.plan.base_file and job.base.own_prompt:
            # server/create.go: what FROM a name brings along cannot be switched off
            hint = f"{job.base.own_prompt} of {job.base.ref} wins over a TEMPLATE; give its weights: --base FILE.gguf"
        elif job.plan.strategy == "adapter" and job.prompt.go and _overridden(job.prompt.go, job.base.chat_template):
            # server/images.go, shouldPreferChatTemplate: the base's Jinja can do more than a TEMPLATE of ours
            hint = "the server prefers the base's own chat template; --strategy merge puts training's into the model"
        return PromptMismatch(
            f"{self._runtime.describe()} renders another prompt than training did "
            f"({len(proof.differences)} of {proof.probes} conversations)",
            where=str(proof.differences[0]) if proof.differences else "the template refuses every conversation",
            hint=hint,
        )

    def _unasked(self, subject: str, endpoint: Endpoint) -> bool | None:
        """Whether clients that say nothing of thinking get the prompt that was proven; None where it has none."""
        client = getattr(self._runtime, "client", None)
        if client is None or self._job.prompt.thinking is None:
            return None
        asked = [(client.render(subject, one.messages), endpoint.render(one.messages)) for one in PROBES[:2]]
        return None if any(None in pair for pair in asked) else all(one == other for one, other in asked)

    def check(self, done: Facts) -> bool:
        """Nothing outside the folder."""
        return True
