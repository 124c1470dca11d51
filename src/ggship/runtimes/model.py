"""What a runtime and an endpoint are: the protocols that the rest of the house talks to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypedDict, runtime_checkable

ENABLE_THINKING = False
"""What endpoints tell a model that can think unless training had it think: when it is asked, and, the same, when its
prompt is rendered."""


class FunctionCall(TypedDict):
    """What a model wants done: arguments are a JSON text, as OpenAI has them."""

    name: str
    arguments: str


class ToolCall(TypedDict):
    """One call of a tool, in OpenAI's shape: type is "function"."""

    id: str
    type: str
    function: FunctionCall


class _Words(TypedDict):
    role: str
    content: str


class Message(_Words, total=False):
    """One turn of a conversation: role is system, user, assistant or tool.

    tool_calls: what the assistant called; tool_call_id: which call a turn of the role tool answers. by: "model" for a
    turn of a suite that the model under test is to say itself; its content is empty, and no endpoint is sent it.
    """

    tool_calls: tuple[ToolCall, ...]
    tool_call_id: str
    by: str


Tools = Sequence[Mapping[str, Any]]
"""Functions that a model may call, as the OpenAI dialect describes them."""


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How an endpoint is asked. Temperature 0 and a seed, so that asking again gives the same words.

    tools: what the model may call, in OpenAI's shape.
    """

    temperature: float = 0.0
    seed: int = 42
    num_predict: int = 256
    num_ctx: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said. finish: "stop" where it ended by itself, "length" where it was cut, "repeating"
    where the server gave up on a loop, "tool_calls" where some servers say that it called a tool. Times in seconds.
    """

    text: str
    finish: str
    seconds: float
    prompt_tokens: int | None = None
    tokens: int | None = None
    first_token_seconds: float | None = None
    load_seconds: float | None = None
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """How a server counts a prompt. asked: tokens, of the messages as they are asked. alone: of the prompt's text sent
    as it is; both with what the tokenizer puts in front. ids: of that text, without what is put in front, and followed
    by what was answered to it (a token at most); None where the server does not tell them.
    """

    asked: int
    alone: int
    ids: tuple[int, ...] | None = None


class Endpoint(Protocol):
    """An API to ask one model: Ollama native, OpenAI dialect, or embedded."""

    label: str  # as a user would type it: law-helper, http://host/v1#model
    model: str

    def chat(self, messages: Sequence[Message], options: ChatOptions) -> Answer:
        """Ask. Raises ServerError where there is no answer."""
        ...

    def render(self, messages: Sequence[Message]) -> str | None:
        """The prompt text that the server really makes of these messages; None where it cannot tell."""
        ...

    def digest(self) -> str | None:
        """What identifies the exact model behind the name; None where the server cannot tell."""
        ...


@dataclass(frozen=True, slots=True)
class Forced:
    """How probable a model finds words that it was given. log_likelihood: natural logarithm, summed over the tokens.

    tokens: those that the words add to the prompt; the end of the turn is not among them.
    """

    log_likelihood: float
    tokens: int


class Scorer(Endpoint, Protocol):
    """An endpoint that can also tell how probable it finds an answer; not every server can."""

    def score(self, messages: Sequence[Message], answer: str) -> Forced | None:
        """Of this answer to these messages; None where the server turns out to be unable. Raises ServerError."""
        ...


@runtime_checkable
class Speaker(Protocol):
    """An endpoint that lets its answer be heard while it is made."""

    def speak(self, messages: Sequence[Message], options: ChatOptions, on_text: Callable[[str], None] | None) -> Answer:
        """As `chat`; on_text hears the words piece by piece. What it raises ends the answer."""
        ...


class Witness(Endpoint, Protocol):
    """An endpoint that tells more of the prompt: what becomes of tools, and of the text."""

    def render(self, messages: Sequence[Message], tools: Tools = ()) -> str | None:
        """The same, of messages that come with tools."""
        ...

    def takes_tools(self) -> bool:
        """Whether the model can be given tools here."""
        ...

    def prompt_tokens(self, messages: Sequence[Message], prompt: str) -> PromptTokens | None:
        """How the server counts these messages, and that text; None where it cannot tell."""
        ...


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """All that a served model is made of.

    Exactly one of `model` (a GGUF file) and `from_name` (a model that the runtime holds) is the base or merged model.
    parameters: Modelfile parameters (`stop` may be a list). template: Go TEMPLATE, None for the runtime's own; Ollama
    alone understands it. jinja: the chat template as Jinja text, None for the GGUF's own; llama.cpp alone takes it.
    """

    model: Path | None = None
    from_name: str | None = None
    adapter: Path | None = None
    template: str | None = None
    system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    license: str | None = None
    jinja: str | None = None


@dataclass(frozen=True, slots=True)
class Created:
    """A model that a runtime made: its name there, its digest, and the sha256 of each file layer the runtime names.

    notes: what a user should know of it, each in words (a parameter that came with the base).
    """

    name: str
    digest: str
    layers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


Progress = Callable[[str, int, int], None]
"""Called as (status, completed bytes, total bytes); total is 0 where it is not known."""


class Runtime(Protocol):
    """Where a model runs: Ollama, or llama.cpp embedded."""

    kind: str  # "ollama" or "embedded"

    def describe(self) -> str:
        """In words: "Ollama 0.34.4 at http://127.0.0.1:11434"."""
        ...

    def accepts_adapters(self) -> bool:
        """Whether a model can be made of base and adapter here."""
        ...

    def create(self, name: str, spec: ModelSpec, on_progress: Progress | None = None) -> Created:
        """Make the model under that name, or replace it. Nothing is ever pulled from a network."""
        ...

    def digest(self, name: str) -> str | None:
        """The digest of the model of that name; None where there is none."""
        ...

    def copy(self, source: str, target: str) -> None:
        """Give the model a second name; the target is replaced at once."""
        ...

    def delete(self, name: str) -> None:
        """Take the name away; no error where it is not there."""
        ...

    def endpoint(self, name: str, *, think: bool = ENABLE_THINKING) -> Witness:
        """An endpoint to ask that model; a model that can think is told to or not to."""
        ...

    def close(self) -> None:
        """End what was started for this runtime."""
        ...
