"""What prompt a packaged model will be asked with, in every form that its server reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ggship.errors import BadFile, NotExpressible
from ggship.modelfile import Modelfile, losses
from ggship.prompts.asked import asked_prompt
from ggship.prompts.bos import adds_bos
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.gguftemplate import gguf_chat_template
from ggship.prompts.gotemplate import NotInGo, go_template
from ggship.prompts.preference import template_preference
from ggship.prompts.probes import PROBES
from ggship.prompts.stops import Stop
from ggship.prompts.thinking import Thinking
from ggship.prompts.training import PromptUnknown

if TYPE_CHECKING:
    from ggship.bases.model import Base
    from ggship.plan import PackageOptions, Plan
    from ggship.runs.model import Run


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """The prompt of training and what carries it.

    chat: its Jinja; None only where the user forced a package without one. jinja: the same as the GGUF holds it, so
    that the server's own variables change nothing. go: the Modelfile's TEMPLATE; None where that Jinja is the carrier.
    ends: where an answer ends, with sources. special_tokens: what no answer may show. notes: (what, why) for the plan.
    system: the SYSTEM text, the user's or training's, None for none. losses: what the Modelfile cannot say of all this,
    in words; the API and ggship.json carry it whole. thinking: how it is asked, None of a model that cannot think.
    confidence: how sure it is that training used this (FoundPrompt).
    """

    chat: ChatTemplate | None
    jinja: str | None
    go: str | None
    ends: tuple[Stop, ...]
    special_tokens: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    system: str | None = None
    losses: tuple[str, ...] = ()
    thinking: Thinking | None = None
    confidence: str = ""

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return tuple(stop.text for stop in self.ends)

    @property
    def route(self) -> str:
        """go, jinja or none: what the server renders from."""
        if self.chat is None:
            return "none"
        return "go" if self.go is not None else "jinja"

    def reasons(self) -> tuple[tuple[str, str], ...]:
        """(what, decision and why) for the plan."""
        return self.notes

    def document(self) -> dict[str, Any]:
        """As it stands in ggship.json."""
        return {
            "source": self.chat.source if self.chat else "none known",
            "confidence": self.confidence or None,
            "route": self.route,
            "template_sha256": hashlib.sha256(self.chat.text.encode()).hexdigest() if self.chat else None,
            "jinja": self.jinja,
            "bos_token": self.chat.bos_token if self.chat else None,
            "eos_token": self.chat.eos_token if self.chat else None,
            "system": self.system,
            "not_in_modelfile": list(self.losses),
            "stops": list(self.stops),
            "stop_sources": {stop.text: stop.source for stop in self.ends},
            "thinking": self.thinking.document() if self.thinking else None,
            "special_tokens": list(self.special_tokens),
        }


def plan_prompt(run: Run, base: Base, options: PackageOptions, plan: Plan) -> PromptPlan:
    """Find the prompt of training and say how it is carried.

    Raises PromptUnknown where none is known, NotExpressible where nothing can carry it with this strategy, UsageError
    where a text would end its own place in the Modelfile.
    """
    prompt = _plan(run, base, options, plan)
    return _with_system(prompt, prompt.system if options.system is None else options.system or None)


def _plan(run: Run, base: Base, options: PackageOptions, plan: Plan) -> PromptPlan:
    try:
        asked = asked_prompt(run, base, options.template)
    except PromptUnknown:
        if options.force:
            return PromptPlan(None, None, None, (), notes=(("prompt", "none known: the server's own default, forced"),))
        raise
    found, chat, thinking = asked.found, asked.chat, asked.thinking
    stops, special = asked.ends, asked.special_tokens
    jinja = gguf_chat_template(chat)
    written = go_template(chat, server_adds_bos=adds_bos(base))
    notes = [("prompt", found.words)]
    notes += _bos_note(chat, base)
    notes += [("thinking", thinking.why)] if thinking else []
    notes.append(("stops", "; ".join(f"{stop.shown} ({stop.source})" for stop in stops) or "none"))
    if isinstance(written, NotInGo):
        if plan.strategy == "adapter" and chat.text != base.chat_template:
            raise NotExpressible(
                "the prompt of training cannot be said as a Modelfile TEMPLATE",
                where=f"{chat.source}: {written.reason}",
                hint="--strategy merge puts the Jinja template itself into the model",
            )
        notes.append(("template", f"the GGUF's own Jinja: {written.reason}"))
        return PromptPlan(chat, jinja, None, stops, special, tuple(notes), found.system, (), thinking, found.confidence)
    carried = "a Go TEMPLATE that renders as the Jinja of training"
    theirs = jinja if plan.strategy == "merge" else base.chat_template
    if template_preference(written.text, theirs) == "jinja":
        carried += "; servers since 0.30 will prefer the GGUF's Jinja, which can do more"
    notes.append(("template", "; ".join((carried, *written.limits))))
    return PromptPlan(
        chat, jinja, written.text, stops, special, tuple(notes), found.system, (), thinking, found.confidence
    )


def _bos_note(chat: ChatTemplate, base: Base) -> list[tuple[str, str]]:
    """What to say where the server will put BOS in front, and the template of training has none."""
    if not (chat.bos_token and adds_bos(base)):
        return []
    try:
        bare = not any(chat.render(probe.messages).startswith(chat.bos_token) for probe in PROBES[:1])
    except BadFile:
        return []
    why = f"the tokenizer puts {chat.bos_token} in front, which the template has not: right where training's did so too"
    return [("BOS", why)] if bare else []


def _with_system(prompt: PromptPlan, system: str | None) -> PromptPlan:
    stops = tuple(("stop", stop) for stop in prompt.stops)
    lost = losses(Modelfile("model", template=prompt.go, system=system, parameters=stops))
    notes = (("Modelfile", "; ".join((*lost, "the server is sent it whole"))),) if lost else ()
    return replace(prompt, system=system, losses=lost, notes=(*prompt.notes, *notes))
