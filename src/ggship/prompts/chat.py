"""A chat template: the Jinja text that turns a conversation into the prompt of training."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError

from ggship.errors import BadFile, GgshipError
from ggship.prompts.sandbox import RaisedByTemplate, Sandbox

if TYPE_CHECKING:
    from ggship.runtimes.model import Message


class TemplateRefused(BadFile):
    """The template itself refuses this conversation (raise_exception): no system role, wrong order of roles."""


class TemplateTooLarge(GgshipError):
    """Rendering it takes more memory than there is. Not a BadFile: nothing goes on after this one."""


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """The Jinja text of a chat template, with what it is rendered with.

    text: Jinja, as transformers reads it. bos_token, eos_token: None where the tokenizer has none (the template then
    sees no such variable). source: where the text is from, in words. arguments: further variables
    (enable_thinking=False).
    """

    text: str
    bos_token: str | None = None
    eos_token: str | None = None
    source: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def render(
        self,
        messages: Sequence[Message],
        *,
        add_generation_prompt: bool = True,
        tools: Sequence[Mapping[str, Any]] | None = None,
        now: datetime | None = None,
    ) -> str:
        """The prompt text, equal to transformers' apply_chat_template(tokenize=False). `now` is local time.

        Raises TemplateRefused where the template refuses the conversation, BadFile with the template's line for
        everything else: syntax, missing fields, what the sandbox forbids, output or loops without end; TemplateTooLarge
        where the memory does not suffice.
        """
        variables: dict[str, Any] = {
            "messages": [dict(message) for message in messages],
            "tools": [dict(tool) for tool in tools] if tools else None,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
            **{name: token for name, token in self._tokens() if token is not None},
            **self.arguments,
        }
        try:
            return Sandbox(now or datetime.now()).render_text(self.text, variables)
        except RaisedByTemplate as error:
            raise TemplateRefused(
                f"the chat template refuses this conversation: {error}", where=self._where(error)
            ) from None
        except SecurityError as error:
            raise BadFile(
                f"the chat template does what a template may not: {error}", where=self._where(error)
            ) from None
        except TemplateSyntaxError as error:
            raise BadFile(
                f"the chat template is no valid Jinja: {error.message}", where=f"{self._name()}: line {error.lineno}"
            ) from None
        except UndefinedError as error:
            raise BadFile(f"the chat template needs what is not there: {error}", where=self._where(error)) from None
        except MemoryError:
            raise TemplateTooLarge(
                "the chat template takes more time or memory than a template may", where=self._name()
            ) from None
        except (
            TemplateError,
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            raise BadFile(
                f"the chat template fails: {type(error).__name__}: {error}", where=self._where(error)
            ) from None

    def _tokens(self) -> tuple[tuple[str, str | None], ...]:
        return (("bos_token", self.bos_token), ("eos_token", self.eos_token))

    def _name(self) -> str:
        return self.source or "chat template"

    def _where(self, error: BaseException) -> str:
        """The template's line: Jinja rewrites the traceback so that frames of templates carry their own lines."""
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
        return f"{self._name()}: line {lines[-1]}" if lines else self._name()
