"""From the model's own server up to a client's stream, rung by rung; the first that breaks names the layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ggship.clock import Clock, SystemClock
from ggship.errors import GgshipError, Refused, ServerError
from ggship.gateways.gateway import STATUS_HINT, Gateway
from ggship.gateways.model import Channel
from ggship.gateways.proving import WAIT_SECONDS, OnStep, answers_as, lag_hint, only_text, silent, until
from ggship.gateways.routing import only_ours
from ggship.runtimes.ollama_api import OllamaClient

OLLAMA, GATEWAY, CHANNEL, CLIENT = "ollama", "gateway", "channel", "client"


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of the ladder. found: what was seen; skipped: why it could not be tried, "" where it was."""

    layer: str
    name: str
    found: str = ""
    skipped: str = ""


@dataclass(frozen=True, slots=True)
class Climbed:
    """How far it went. broke: the error of the rung that broke, None where all hold."""

    rungs: tuple[Rung, ...]
    broke: GgshipError | None = None
    layer: str = ""
    rung: str = ""


@dataclass(frozen=True, slots=True)
class Ladder:
    """What is probed: the package's channel on that gateway, and its model where Ollama is reached from here.

    digest: what the model must be there, "" where that is not known. ollama: None where its server is not asked.
    """

    gateway: Gateway
    name: str
    model: str = ""
    ollama: OllamaClient | None = None
    digest: str = ""

    def climb(
        self, *, wait_seconds: float = WAIT_SECONDS, clock: Clock | None = None, on_step: OnStep | None = None
    ) -> Climbed:
        """Every rung until one breaks. Nothing is changed anywhere; the model is asked up to five short questions."""
        step = on_step or silent
        held: list[Rung] = []
        for layer, name, look in self._rungs(wait_seconds, clock or SystemClock()):
            step(f"{layer}: {name}")
            try:
                found = look()
            except Skip as skip:
                held.append(Rung(layer, name, skipped=str(skip)))
                continue
            except GgshipError as error:
                return Climbed(tuple(held), error, layer, name)
            held.append(Rung(layer, name, found))
        return Climbed(tuple(held))

    def _rungs(self, wait: float, clock: Clock) -> Iterator[tuple[str, str, Callable[[], str]]]:
        gateway, ollama = self.gateway, self.ollama
        if ollama is not None:
            yield OLLAMA, "it answers", lambda: f"Ollama {ollama.version()} at {ollama.url}"
            yield OLLAMA, "it holds the model", lambda: self._held(ollama)
            yield OLLAMA, "the model has a template", lambda: self._shown(ollama)
            yield OLLAMA, "the model speaks", lambda: self._spoken(ollama)
        yield GATEWAY, "it answers", lambda: _is(gateway)
        yield GATEWAY, "its channels can be read", lambda: f"{len(gateway.channels())} channels"
        found: list[Channel] = []
        yield CHANNEL, "there is one of ours, and it is on", lambda: self._channel(found)
        (channel,) = found
        yield CHANNEL, "the gateway reaches the model through it", lambda: self._tested(channel)
        yield CHANNEL, "it answers when it is named", lambda: self._pinned(channel)
        yield CLIENT, "an ordinary request is answered", lambda: self._asked(channel, wait, clock)
        yield CLIENT, "a stream comes to its end", lambda: self._streamed(channel)

    def _held(self, ollama: OllamaClient) -> str:
        held = ollama.digest(self.model)
        if held is None:
            raise Refused(f"it holds no model {self.model}", where=ollama.url, hint="ggship package RUN --name NAME")
        if self.digest and held != self.digest.removeprefix("sha256:"):
            raise Refused(
                f"the model behind {self.model} is not the one that was proven",
                where=f"{ollama.url}: {held[:12]}, proven {self.digest.removeprefix('sha256:')[:12]}",
                hint="ggship package RUN --name NAME   proves what is there",
            )
        return f"{self.model}, {held[:12]}" + (", the proven one" if self.digest else "")

    def _shown(self, ollama: OllamaClient) -> str:
        shown = ollama.show(self.model)
        if not str(shown.get("template") or "").strip():
            raise Refused(f"{self.model} has no template", where=ollama.url, hint="ggship package makes it with one")
        parameters = str(shown.get("parameters") or "")
        words = [line.split() for line in parameters.splitlines() if line.strip()]
        stops = sum(line[0] == "stop" for line in words)
        context = next((f"num_ctx {line[-1]}" for line in words if line[0] == "num_ctx"), "no num_ctx of its own")
        return f"{stops} stop{'' if stops == 1 else 's'}, {context}"

    def _spoken(self, ollama: OllamaClient) -> str:
        hello = [{"role": "user", "content": "Hello"}]
        request = {"model": self.model, "messages": hello, "options": {"num_predict": 8}}
        said = str((ollama.chat(request).get("message") or {}).get("content") or "")
        if not said.strip():
            raise ServerError(f"{self.model} answers with nothing", where=ollama.url, hint="ollama run it by hand")
        return only_text(said)

    def _channel(self, found: list[Channel]) -> str:
        channel = only_ours(self.gateway, self.gateway.channels(), self.name)
        if channel is None:
            raise Refused(
                f"there is no channel of ggship's for {self.name}",
                where=self.gateway.url,
                hint=f"ggship gateway apply {self.name}",
            )
        if not channel.enabled:
            raise Refused(
                f"channel {channel.id} is switched off",
                where=self.gateway.url,
                hint=f"ggship gateway on {self.name}",
            )
        if self.model and channel.model.removesuffix(":latest") != self.model.removesuffix(":latest"):
            raise Refused(
                f"channel {channel.id} leads to {channel.model}, not to {self.model}",
                where=self.gateway.url,
                hint=f"ggship gateway plan {self.name}   shows what would change",
            )
        found.append(channel)
        return f"channel {channel.id}: {channel.public} -> {channel.model} at {channel.base_url}"

    def _tested(self, channel: Channel) -> str:
        tested = self.gateway.test(channel.id, channel.public)
        if not tested.ok:
            raise ServerError(
                "the gateway gets no answer from the model",
                where=f"{channel.model} at {channel.base_url}: {tested.text or 'an empty answer'}",
                hint="is that address right as the gateway (not you) sees it?",
            )
        return only_text(tested.text) or f"{tested.seconds:.1f} s"

    def _pinned(self, channel: Channel) -> str:
        self._need_key()
        said = self.gateway.ask(channel.public, channel=channel.id)
        if said.cannot_pin:
            raise Skip("this key's owner may not name a channel")
        self._need_answer(said.ok, said.status, said.problem)
        if not answers_as(said, channel, channel.model):
            raise ServerError(f"channel {channel.id} answers as {said.model}", where=f"it leads to {channel.model}")
        return only_text(said.text)

    def _asked(self, channel: Channel, wait: float, clock: Clock) -> str:
        self._need_key()
        said = until(lambda: self.gateway.ask(channel.public), lambda said: not said.no_route, wait, clock)
        self._need_answer(said.ok, said.status, said.problem, no_route=said.no_route)
        by = f"{said.model}: " if said.model else ""
        return by + only_text(said.text)

    def _streamed(self, channel: Channel) -> str:
        self._need_key()
        said = self.gateway.ask(channel.public, stream=True)
        self._need_answer(said.ok and said.ended, said.status, said.problem)
        return only_text(said.text)

    def _need_key(self) -> None:
        if not self.gateway.can_ask:
            raise Skip("no client key is set")

    def _need_answer(self, ok: bool, status: int, problem: str, *, no_route: bool = False) -> None:
        if not ok:
            hint = lag_hint(self.gateway) if no_route else STATUS_HINT
            raise ServerError("no answer", where=f"{self.gateway.url}: HTTP {status}: {problem}", hint=hint)


class Skip(Exception):
    """A rung that cannot be tried here, and why."""


def _is(gateway: Gateway) -> str:
    gateway.need_writable()
    status = gateway.status()
    return f"{status.flavour} {status.version} at {gateway.url}".replace("  ", " ")
