"""An answer put together from the pieces that a server streams, within bounds: some models never end by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ggship.clock import Clock
from ggship.errors import ServerError
from ggship.runtimes.model import Answer, ChatOptions
from ggship.runtimes.wire import gather, tool_calls

ANSWER_SECONDS = 1800.0
ANSWER_CHARACTERS = 8 << 20
_PIECES_A_TOKEN = 16  # some gateways cut an answer that they have whole into single characters
_PIECES_MORE = 4096
TOO_LONG = 200
"""The status of an answer that was given up: the server did answer, and would again."""

OnText = Callable[[str], None]


class Gathering:
    """One answer. It is begun when this is made. on_text: hears its words as they come.

    Law: however a server streams, this ends: after ANSWER_SECONDS, ANSWER_CHARACTERS, or far more pieces than tokens
    were asked for, with a ServerError that says which.
    """

    def __init__(self, label: str, options: ChatOptions, clock: Clock, on_text: OnText | None = None) -> None:
        self.text: list[str] = []
        self.thinking: list[str] = []
        self._label = label
        self._clock = clock
        self._on_text = on_text
        self._most_pieces = options.num_predict * _PIECES_A_TOKEN + _PIECES_MORE
        self._asked = options.num_predict
        self._began = clock.monotonic()
        self._first: float | None = None
        self._pieces = 0
        self._characters = 0
        self._calls: dict[int, dict[str, Any]] = {}

    @property
    def seconds(self) -> float:
        """Since the question."""
        return self._clock.monotonic() - self._began

    def add(self, text: str = "", thinking: str = "") -> None:
        """One more piece came, with or without words."""
        if text:
            if self._first is None:
                self._first = self.seconds
            self.text.append(text)
            if self._on_text:
                self._on_text(text)
        if thinking:
            self.thinking.append(thinking)
        self._pieces += 1
        self._characters += len(text) + len(thinking)
        if self._characters > ANSWER_CHARACTERS:
            raise self._endless(f"more than {ANSWER_CHARACTERS >> 20} million characters")
        if self._pieces > self._most_pieces:
            raise self._endless(f"more than {self._most_pieces} pieces, and {self._asked} tokens were asked for")
        if self.seconds > ANSWER_SECONDS:
            raise self._endless(f"more than {ANSWER_SECONDS / 60:.0f} minutes")

    def call(self, pieces: Iterable[Any]) -> None:
        """Pieces of calls of tools came."""
        gather(self._calls, pieces)

    def answer(
        self,
        finish: str,
        *,
        prompt_tokens: int | None = None,
        tokens: int | None = None,
        load_seconds: float | None = None,
        calls: Iterable[Any] | None = None,
    ) -> Answer:
        """The whole answer. calls: of tools, where they did not come in pieces."""
        whole = [self._calls[index] for index in sorted(self._calls)] if calls is None else calls
        return Answer(
            text="".join(self.text),
            finish=finish,
            seconds=self.seconds,
            prompt_tokens=prompt_tokens,
            tokens=tokens,
            first_token_seconds=self._first,
            load_seconds=load_seconds,
            thinking="".join(self.thinking),
            tool_calls=tool_calls(whole, self._label),
        )

    def _endless(self, how: str) -> ServerError:
        return ServerError(f"{self._label} gave an answer without end, and it was left: {how}", status=TOO_LONG)
