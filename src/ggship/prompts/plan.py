"""What prompt a packaged model will be asked with, in every form that its server reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ggship.errors import NotExpressible, PromptMismatch, UsageError
from ggship.prompts.chat import ChatTemplate
from ggship.prompts.gguftemplate import gguf_chat_template
from ggship.prompts.gotemplate import NotInGo, go_template
from ggship.prompts.preference import template_preference
from ggship.prompts.stops import stop_strings
from ggship.prompts.tokens import server_adds_bos
from ggship.prompts.training import training_prompt
from ggship.prompts.trial import check_template_once

if TYPE_CHECKING:
    from ggship.bases.model import Base
    from ggship.plan import PackageOptions, Plan
    from ggship.runs.model import Run

TEMPLATE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """The prompt of training and what carries it.

    chat: its Jinja; None only where the user forced a package without one. go: the Modelfile's TEMPLATE; None where
    the Jinja in the GGUF is the carrier. stops: where an answer ends. special_tokens: what no answer may show.
    notes: (what, why) for the plan.
    """

    chat: ChatTemplate | None
    go: str | None
    stops: tuple[str, ...]
    special_tokens: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def jinja(self) -> str | None:
        """The Jinja text for the GGUF, in which the server's own variables change nothing."""
        return gguf_chat_template(self.chat) if self.chat else None

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
            "route": self.route,
            "template_sha256": hashlib.sha256(self.chat.text.encode()).hexdigest() if self.chat else None,
            "jinja": self.jinja,
            "stops": list(self.stops),
            "special_tokens": list(self.special_tokens),
        }


def plan_prompt(run: Run, base: Base, options: PackageOptions, plan: Plan) -> PromptPlan:
    """Find the prompt of training and say how it is carried.

    Raises PromptMismatch where none is known, NotExpressible where nothing can carry it with this strategy.
    """
    chat = _given(options.template, run, base) if options.template else training_prompt(run, base)
    if chat is None:
        if options.force:
            return PromptPlan(None, None, (), notes=(("prompt", "none known: the server's own default, forced"),))
        raise PromptMismatch(
            "no chat template is known for this run",
            where=f"neither {run.path} nor the base {base.ref} has one",
            hint="name the template of training with --template FILE (Jinja, as in tokenizer_config.json)",
        )
    check_template_once(chat)
    stops = stop_strings(run, base, chat)
    special = tuple(dict.fromkeys((*stops, *(token for token in (chat.bos_token, chat.eos_token) if token))))
    written = go_template(chat, server_adds_bos=server_adds_bos(base.metadata))
    notes = [("prompt", chat.source)]
    if isinstance(written, NotInGo):
        if plan.strategy == "adapter" and chat.text != base.chat_template:
            raise NotExpressible(
                "the prompt of training cannot be said as a Modelfile TEMPLATE",
                where=f"{chat.source}: {written.reason}",
                hint="--strategy merge puts the Jinja template itself into the model",
            )
        notes.append(("template", f"the GGUF's own Jinja: {written.reason}"))
        return PromptPlan(chat, None, stops, special, tuple(notes))
    carried = "a Go TEMPLATE that renders as the Jinja of training"
    jinja = chat.text if plan.strategy == "merge" else base.chat_template
    if jinja and template_preference(written.text, jinja) == "jinja":
        carried += "; servers since 0.30 will prefer the GGUF's Jinja, which can do more"
    notes.append(("template", "; ".join((carried, *written.limits))))
    notes.append(("stops", " ".join(stops) or "none"))
    return PromptPlan(chat, written.text, stops, special, tuple(notes))


def _given(ref: str, run: Run, base: Base) -> ChatTemplate:
    """The template of a file that the user names."""
    from dataclasses import replace

    path = Path(ref)
    try:
        if path.stat().st_size > TEMPLATE_BYTES:
            raise UsageError("that is too long for a chat template", where=f"{path}: {path.stat().st_size} bytes")
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "the chat template cannot be read", where=f"{path}: {error}", hint="--template takes a Jinja file"
        ) from error
    saved = training_prompt(run, base)
    return replace(saved, text=text, source=ref) if saved else ChatTemplate(text, source=ref)
