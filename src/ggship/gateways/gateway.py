"""What every gateway can do, and the laws of writing to one: re-read before and after, written down, never blind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from ggship.errors import Refused, ServerError
from ggship.gateways.model import Channel, ChannelId, differences

ASK = "Answer in one short sentence: who are you?"
ASK_TOKENS = 16
LIMITS_CHECK = "enforce_model_rate_limits"  # LiteLLM 1.106: without it 6 of 6 requests passed a limit of 2 a minute
STATUS_HINT = "ggship gateway status   shows what is there now"


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What answers at the address: flavour is one-api, new-api or litellm."""

    flavour: str
    version: str
    system_name: str


@dataclass(frozen=True, slots=True)
class Tested:
    """A channel test: the gateway asked the upstream itself. text: the model's words, or the reason. seconds: taken."""

    ok: bool
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Said:
    """An answer of the relay. model: the name at the upstream that answered. problem: the gateway's words, else "".

    deployment: the channel that answered, where the gateway tells. ended: whether a stream came to its end (`[DONE]`).
    no_route: whether the gateway says itself that nothing answers for the name, or that the channel asked for is off.
    """

    status: int
    text: str = ""
    model: str = ""
    problem: str = ""
    deployment: str = ""
    ended: bool = True
    no_route: bool = False
    cannot_pin: bool = False

    @property
    def ok(self) -> bool:
        """Whether there are words in it."""
        return self.status == 200 and bool(self.text.strip())


@dataclass(frozen=True, slots=True)
class Traits:
    """What a family of gateways can do.

    types: a route's mode -> the channel type's number. weights: whether a channel's weight is heeded.
    limits: whether requests a minute can be limited for one model. groups: whether users are in groups, so that a
    channel can be parked. restart: whether it reads its channels only when it starts. lag: seconds that a write may
    take to be seen where it keeps a cache.
    """

    flavour: str
    types: Mapping[str, int]
    weights: bool = False
    limits: bool = False
    groups: bool = True
    restart: bool = False
    lag: int = 0


class Recorder(Protocol):
    """Who writes down what is about to be done, and what came of it."""

    def will(self, operation: str, before: Channel | None, wanted: Channel | None) -> None:
        """Called before a write."""
        ...

    def did(self, after: Channel | None) -> None:
        """Called when it is done and was read again."""
        ...


class Silent:
    """Writes nothing down."""

    def will(self, operation: str, before: Channel | None, wanted: Channel | None) -> None:
        """Nothing."""

    def did(self, after: Channel | None) -> None:
        """Nothing."""


class Gateway(ABC):
    """One gateway. Reading is the family's own; writing follows one law for all of them.

    Law: after create, update and delete the gateway was read again and holds what was wanted, or ServerError says so.
    An update of a channel that another admin changed since it was read is refused before anything is written.
    """

    traits: ClassVar[Traits]
    url: str

    def __init__(self) -> None:
        self.recorder: Recorder = Silent()

    @property
    @abstractmethod
    def can_ask(self) -> bool:
        """Whether there is a client key."""

    @abstractmethod
    def status(self) -> GatewayStatus:
        """What answers there. No token is sent. Raises ServerError where it is no gateway of this family."""

    @abstractmethod
    def need_writable(self) -> GatewayStatus:
        """The status, to be called before any write. Raises Refused where it is another family than this one."""

    @abstractmethod
    def channels(self) -> list[Channel]:
        """Every channel, newest first."""

    @abstractmethod
    def find(self, name: str) -> list[Channel]:
        """The channels of exactly that name."""

    @abstractmethod
    def get(self, number: ChannelId) -> Channel:
        """One channel. Raises ServerError where there is none of that id."""

    @abstractmethod
    def test(self, number: ChannelId, model: str) -> Tested:
        """Let the gateway ask its upstream; works for a channel that is switched off. It proves no routing."""

    @abstractmethod
    def ask(
        self, model: str, *, channel: ChannelId | None = None, stream: bool = False, tokens: int = ASK_TOKENS
    ) -> Said:
        """Ask through the relay as a client does, or through one channel (an admin's key may name it)."""

    @abstractmethod
    def warnings(self, model: str) -> list[str]:
        """What an admin should know of this gateway before clients are led to that model name at the upstream."""

    @abstractmethod
    def comes_back(self) -> str:
        """Why a channel that is switched off may come back by itself; "" where it does not."""

    def holds_limits(self) -> bool:
        """Whether this very gateway holds the limits that its family can have."""
        return self.traits.limits

    @abstractmethod
    def _post(self, wanted: Channel) -> None:
        """Make a channel."""

    @abstractmethod
    def _put(self, now: Channel, wanted: Channel) -> None:
        """Send what differs."""

    @abstractmethod
    def _remove(self, number: ChannelId) -> None:
        """Take a channel away."""

    def create(self, wanted: Channel) -> Channel:
        """Make the channel, and find it: the gateway does not tell its id. Raises ServerError where it is not there.

        The old ones of the same name are told apart by id, so that a lost answer is seen as what it is.
        """
        before = {channel.id for channel in self.find(wanted.name)}
        self.recorder.will("create", None, wanted)
        self._post(wanted)
        made = [channel for channel in self.find(wanted.name) if channel.id not in before]
        if len(made) != 1:
            raise ServerError(
                "the gateway said that it made the channel, and it is not there"
                if not made
                else "someone else made a channel of the same name at this moment",
                where=f"{wanted.name} at {self.url}: {[channel.id for channel in made] or 'none'}",
                hint="look at the channels in the gateway's web page, then run the same command again",
            )
        self._compare(made[0], wanted)
        self.recorder.did(made[0])
        return made[0]

    def update(self, now: Channel, wanted: Channel) -> Channel:
        """Send what differs and nothing else, then read it again. Raises ServerError where it did not change.

        The channel must exist and be as it was read: an update of an unknown id succeeds there, and damages the
        routing; what another admin wrote meanwhile is not written over. Raises Refused then.
        """
        current = self.get(now.id)
        foreign = differences(now, current)
        if foreign:
            raise Refused(
                f"someone else changed channel {now.id} at this moment, so nothing was written to it",
                where=f"{self.url}: {', '.join(sorted(foreign))}",
                hint=f"{STATUS_HINT}; then run the same command again",
            )
        self.recorder.will("update", now, wanted)
        self._put(now, wanted)
        after = self.get(now.id)
        self._compare(after, wanted)
        self.recorder.did(after)
        return after

    def delete(self, number: ChannelId) -> None:
        """Take a channel of ours away, and see that it is gone."""
        before = self.get(number)
        self.recorder.will("delete", before, None)
        self._remove(number)
        if any(channel.id == number for channel in self.find(before.name)):
            raise ServerError(
                "the gateway reported success, and the channel is still there",
                where=f"channel {number} at {self.url}",
                hint=STATUS_HINT,
            )
        self.recorder.did(None)

    def _compare(self, now: Channel, wanted: Channel) -> None:
        wrong = differences(now, replace(wanted, id=now.id))
        if wrong:
            raise ServerError(
                "the gateway reported success and did not do it, or another admin was at work",
                where=f"channel {now.id} at {self.url}: {', '.join(sorted(wrong))} not as sent",
                hint=STATUS_HINT,
            )
