"""A run as an endpoint, before it is packaged: base and adapter in Transformers and PEFT, with training's prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ggship.bases.model import Base
from ggship.clock import Clock, SystemClock
from ggship.digests import DigestCache, digest_of
from ggship.errors import GgshipError, ServerError
from ggship.prompts.asked import AskedPrompt
from ggship.prompts.chat import TemplateRefused
from ggship.prompts.thinking import MARKS
from ggship.reference.measure import with_system
from ggship.reference.trained import Trained
from ggship.runs.model import Run
from ggship.runtimes.model import Answer, ChatOptions, Forced, Message

ANSWER_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Unpackaged:
    """A run with all that asking it takes. weights: its base for Transformers, a directory or a GGUF file.

    key: digest of those. bos: whether BOS is put in front of a prompt that does not begin with it.
    """

    run: Run
    base: Base
    weights: Path
    key: str
    prompt: AskedPrompt
    bos: bool

    def digest(self, *, bare: bool) -> str:
        """Of all that its answers depend on; bare: of its base alone, under the same prompt."""
        run, digests = self.run, DigestCache()
        folder = run.tokenizer_dir
        chat = self.prompt.chat
        adapter = [[digests.sha256(file) for file in run.tensor_files], run.config]
        return digest_of(
            {
                "adapter": None if bare else adapter,
                "base": self.key,
                "tokenizer": [digests.sha256(folder / name) for name in run.tokenizer_files] if folder else None,
                "prompt": [chat.text, dict(chat.arguments), chat.bos_token, chat.eos_token, self.prompt.found.system],
                "stops": [end.text for end in self.prompt.ends],
                "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
            }
        )


class Slot:
    """Room for one loaded model: of a run and its base, each has the memory for itself while it is asked."""

    def __init__(self) -> None:
        self._owner: object = None
        self._loaded: Trained | None = None

    def take(self, owner: object, subject: Unpackaged, *, bare: bool) -> Trained:
        """The model of that owner, loaded now unless it is; the one before it is ended."""
        if self._owner is not owner or self._loaded is None:
            self.close()
            stops = [end.text for end in subject.prompt.ends]
            self._loaded, self._owner = Trained(subject.run, subject.weights, stops, bare=bare), owner
        return self._loaded

    def close(self) -> None:
        """End what is loaded."""
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()


class RunEndpoint:
    """Asks it, on the CPU and in 32-bit floats. bare: the base without the adapter, under the very same prompt.

    Greedy at temperature 0; above it, from the whole distribution, where servers leave unlikely tokens out. num_ctx
    changes nothing: there is as much context as the model was made for.
    """

    most_at_once = 1

    def __init__(
        self, subject: Unpackaged, slot: Slot, label: str, *, bare: bool = False, clock: Clock | None = None
    ) -> None:
        self.label = label
        self.model = subject.run.root.resolve().name
        self.slot = slot
        self._subject = subject
        self._bare = bare
        self._clock = clock or SystemClock()
        self._gone: GgshipError | None = None

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Answer:
        """Ask; loaded at the first question. ServerError for what it cannot answer, and where it died."""
        if self._gone is not None:
            raise ServerError(self._gone.message, where=self._gone.where, hint=self._gone.hint)
        if options.tools:
            raise ServerError(
                "a run that is not packaged cannot be offered tools: reading its calls is the work of a server",
                where=self.label,
                status=400,
            )
        prompt = self.render(messages)
        began = self._clock.monotonic()
        try:
            trained = self.slot.take(self, self._subject, bare=self._bare)
            loaded = self._clock.monotonic()
            told = trained.say(self._task(prompt, options))
        except GgshipError as error:
            self._gone = error
            raise ServerError(error.message, where=error.where, hint=error.hint) from error
        if "refused" in told:
            raise ServerError(f"{self.label} cannot answer: {told['refused']}", status=400)
        text, thinking = _apart(prompt, told["text"])
        return Answer(
            text=text,
            finish=told["finish"],
            seconds=told["seconds"],
            prompt_tokens=told["prompt_tokens"],
            tokens=told["tokens"],
            first_token_seconds=told["first"],
            load_seconds=loaded - began,
            thinking=thinking,
        )

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt of training. ServerError where its template refuses the conversation."""
        prompt = self._subject.prompt
        try:
            return prompt.chat.render(with_system(messages, prompt.found.system))
        except TemplateRefused as error:
            raise ServerError(error.message, where=error.where, status=400) from error

    def score(self, messages: Sequence[Message], answer: str) -> Forced:
        """How probable the model finds this answer, in one pass over prompt and answer."""
        task = {"prompt": self.render(messages), "bos": self._subject.bos, "forced": answer}
        try:
            told = self.slot.take(self, self._subject, bare=self._bare).say(task)
        except GgshipError as error:
            raise ServerError(error.message, where=error.where, hint=error.hint) from error
        if "refused" in told:
            raise ServerError(f"{self.label} cannot read this answer: {told['refused']}", status=400)
        return Forced(told["log_likelihood"], told["tokens"])

    def digest(self) -> str:
        """Of adapter, base, tokenizer, prompt and versions."""
        return self._subject.digest(bare=self._bare)

    def setting(self) -> dict[str, str]:
        """What else its answers depend on: nothing, the digest holds it all."""
        return {"in": "transformers"}

    def _task(self, prompt: str, options: ChatOptions) -> dict[str, Any]:
        stops = [end.text for end in self._subject.prompt.ends]
        return {
            "prompt": prompt,
            "bos": self._subject.bos,
            "tokens": options.num_predict,
            "temperature": options.temperature,
            "seed": options.seed,
            "stops": list(dict.fromkeys([*stops, *options.stop])),
            "within": ANSWER_SECONDS,
        }


def _apart(prompt: str, said: str) -> tuple[str, str]:
    """(The answer, the thoughts before it), as servers tell them apart."""
    begin, end = MARKS
    opened = prompt.rstrip().endswith(begin)
    if not opened and not said.lstrip().startswith(begin):
        return said, ""
    thoughts = said if opened else said.lstrip()[len(begin) :]
    thinking, _, text = thoughts.partition(end)
    return text.lstrip(), thinking.strip()
