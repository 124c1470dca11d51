"""Whether clients get an answer from the right model: asked through the channel itself, then as everyone."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ggship.clock import Clock
from ggship.errors import GgshipError, ServerError
from ggship.gateways.gateway import STATUS_HINT, Gateway, Said
from ggship.gateways.model import Channel, ChannelId, Route
from ggship.gateways.secrets import KEY

PROBE_EVERY = 1.0
WAIT_SECONDS = 15.0

OnStep = Callable[[str], None]


class NotYetRouted(ServerError):
    """The channel is on and answers when it is named, but the gateway does not route to it yet."""


def silent(text: str) -> None:
    """Where nobody wants to know the steps."""


class Prover:
    """Asks as a client does: through the channel itself, then as everyone."""

    def __init__(self, gateway: Gateway, route: Route, wait_seconds: float, clock: Clock, step: OnStep) -> None:
        self._gateway = gateway
        self._route = route
        self._wait = wait_seconds
        self._clock = clock
        self._step = step

    def prove(self, channel: Channel) -> Said:
        """The answer that a client gets. Raises ServerError where there is none, NotYetRouted where it may come."""
        public = self._route.public
        self.pinned(channel)
        self._step(f"asking for {public} as a client does")
        said = until(lambda: self._gateway.ask(public), lambda said: not said.no_route, self._wait, self._clock)
        if said.no_route:
            raise NotYetRouted(
                f"channel {channel.id} is on, but the gateway does not route {public} to it yet",
                where=f"after {self._wait:.0f} s: {said.problem}",
                hint=lag_hint(self._gateway),
            )
        if not said.ok:
            raise self._no_answer(said, "as a client")
        return said

    def pinned(self, channel: Channel) -> Said:
        """The channel's own answer, where the key may name one. Raises ServerError where it is another model's."""
        public, model = self._route.public, self._route.model
        self._step(f"asking for {public} through channel {channel.id}")
        pinned = self._gateway.ask(public, channel=channel.id)
        if not pinned.ok and not pinned.cannot_pin:
            raise self._no_answer(pinned, f"channel {channel.id}")
        if pinned.ok and not answers_as(pinned, channel, model):
            raise ServerError(
                "the channel answers with another model than the release",
                where=f"channel {channel.id}: {pinned.model}, wanted {model}",
            )
        return pinned

    def _no_answer(self, said: Said, how: str) -> ServerError:
        hint = ""
        if said.status == 403:
            hint = f"the user of {KEY} has no quota left, or the key may not use {self._route.public}"
        return ServerError(
            "the gateway does not answer for the model",
            where=f"{self._route.public} {how} at {self._gateway.url}: HTTP {said.status}: {said.problem}",
            hint=hint,
            status=said.status,
        )


def answers_as(said: Said, channel: Channel, model: str) -> bool:
    """Whether the answer is that channel's: by the gateway's word where it names one, else by the model's name."""
    return said.deployment == str(channel.id) if said.deployment else same_model(said.model, model)


def test_channel(gateway: Gateway, channel: Channel, step: OnStep) -> None:
    """Let the gateway ask the channel's upstream, which works while it is off. Raises ServerError where it fails."""
    if gateway.traits.restart:
        return  # nothing can be asked through a channel that the gateway has not read yet
    step(f"letting the gateway ask {channel.model} at {channel.base_url}")
    try:
        tested = gateway.test(channel.id, channel.public)
    except ServerError as error:
        error.hint = error.hint or (
            "the gateway's test sets no limit, so a model that does not stop runs on: give it PARAMETER num_predict"
        )
        raise
    if not tested.ok:
        # One-API drops Ollama's own words, so we say what they mostly are.
        raise ServerError(
            "the gateway gets no answer from the model",
            where=f"{channel.model} at {channel.base_url}: {tested.text or 'an empty answer'}",
            hint="pass the address at which the gateway (not you) reaches Ollama: --upstream http://HOST:11434",
        )


def until(ask: Callable[[], Said], enough: Callable[[Said], bool], wait_seconds: float, clock: Clock) -> Said:
    """Ask again until it is enough, or the time is over; the last answer."""
    end = clock.monotonic() + wait_seconds
    while True:
        said = ask()
        if enough(said) or clock.monotonic() >= end:
            return said
        clock.sleep(PROBE_EVERY)


def undo(action: Callable[[], object], error: BaseException, otherwise: str) -> None:
    """Undo a write after `error`; where that fails too, the first error stays the one that is told, and says so."""
    try:
        action()
    except GgshipError as second:
        if isinstance(error, GgshipError):
            error.where = f"{error.where}\nand then {otherwise}: {second.message}"
            error.hint = STATUS_HINT


def same_model(said: str, wanted: str) -> bool:
    """Whether two names mean one model of Ollama's."""
    return said.removesuffix(":latest") == wanted.removesuffix(":latest")


def lag_hint(gateway: Gateway) -> str:
    """What to do where a write is not seen yet."""
    if gateway.traits.restart:
        return "LiteLLM reads its file when it starts: restart it, then run the same command again"
    lag = gateway.traits.lag
    return f"its cache may lag up to {lag} s: run it again with --wait {lag}" if lag else "run it again with --wait 60"


def ids(numbers: Iterable[ChannelId]) -> str:
    """The channels, in words."""
    return ", ".join(f"channel {number}" for number in sorted(numbers, key=lambda n: (isinstance(n, str), n)))


def only_text(text: str) -> str:
    """A model's words on one line, the first of them."""
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:57]}..."
