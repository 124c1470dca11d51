"""The share of a canary: what channels or weights give it, and what it was when it was counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ggship.errors import ServerError, UsageError
from ggship.gateways.gateway import Gateway, Said
from ggship.gateways.model import Channel
from ggship.gateways.proving import answers_as

MOST = 20
# new-api adds 10 to every weight, some of its versions only without a memory cache (QuantumNous/new-api#6510): beside
# weights of thousands that is nothing.
WEIGHTS = 10_000
CLOSE_ENOUGH = 0.01
Z = 3.29  # 99.9 %: a false alarm once in a thousand canaries


@dataclass(frozen=True, slots=True)
class Split:
    """So many equal channels each, or the weights of one each. Law: share == canary / (stable + canary)."""

    stable: int
    canary: int

    @property
    def share(self) -> float:
        """The canary's, from 0 to 1."""
        return self.canary / (self.stable + self.canary)


@dataclass(frozen=True, slots=True)
class Counted:
    """Who answered `asked` requests. other: answered, but by neither. by: how the answers were told apart.

    low, high: the interval in which the canary's true share lies, 999 times of 1000 (Wilson's).
    """

    asked: int
    stable: int
    canary: int
    other: int
    by: str
    low: float
    high: float

    @property
    def share(self) -> float:
        """The canary's part of what was asked."""
        return self.canary / self.asked if self.asked else 0.0

    def fits(self, wanted: float) -> bool:
        """Whether the count speaks for that share, and nobody else answered."""
        return self.low <= wanted <= self.high and not self.other


def split_by_weight(percent: float) -> Split:
    """Weights for that share of requests. Raises UsageError where it is none."""
    _check(percent)
    canary = round(WEIGHTS * percent / 100)
    return Split(WEIGHTS - canary, max(1, canary))


def split_by_channels(percent: float, most: int = MOST) -> Split:
    """The fewest equal channels that come closest to that share, `most` in all. Raises UsageError where none is close.

    Law: the share is within one percentage point of the wanted one.
    """
    _check(percent)
    wanted = percent / 100
    found = min(
        (Split(total - canary, canary) for total in range(2, most + 1) for canary in range(1, total)),
        key=lambda split: (round(abs(split.share - wanted), 9), split.stable + split.canary),
        default=Split(1, 1),
    )
    if abs(found.share - wanted) > CLOSE_ENOUGH:
        needed = math.ceil(1 / min(wanted, 1 - wanted))
        raise UsageError(
            f"{percent:g} % is no share that {most} equal channels can give",
            where=f"this gateway heeds no weights, so {most} channels are shared out: the nearest is {found.share:.1%}",
            hint=f"--percent {found.share * 100:.3g}, or --channels {needed}",
        )
    return found


def measure(
    gateway: Gateway, stable: Channel, canary: Channel, count: int, on_answer: Callable[[int], None] | None = None
) -> Counted:
    """Ask `count` times as a client does, and count whose answers come.

    An answer is told by the channel that the gateway names with it (LiteLLM: x-litellm-model-id), else by the model's
    name in it, which differs between versions. Raises ServerError where a request gets no answer.
    """
    told: dict[str, int] = {"stable": 0, "canary": 0, "other": 0}
    by = "the model's name in each answer"
    for number in range(count):
        said = gateway.ask(stable.public, tokens=1)
        if not said.ok and said.problem != "the answer is empty":
            raise ServerError(
                f"while the share was counted, request {number + 1} of {count} got no answer",
                where=f"{stable.public} at {gateway.url}: HTTP {said.status}: {said.problem}",
                hint="ggship gateway rollback NAME   takes the canary away",
            )
        if said.deployment:
            by = "the x-litellm-model-id header of each answer"
        told[_who(said, stable, canary)] += 1
        if on_answer:
            on_answer(1)
    low, high = wilson(told["canary"], count)
    return Counted(count, told["stable"], told["canary"], told["other"], by, low, high)


def wilson(hits: int, count: int) -> tuple[float, float]:
    """The interval of a share that was seen `hits` times in `count`, at 99.9 % (Wilson, 1927)."""
    if not count:
        return 0.0, 1.0
    share = hits / count
    middle = (share + Z * Z / (2 * count)) / (1 + Z * Z / count)
    half = Z / (1 + Z * Z / count) * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def _who(said: Said, stable: Channel, canary: Channel) -> str:
    if answers_as(said, canary, canary.model):
        return "canary"
    return "stable" if answers_as(said, stable, stable.model) else "other"


def _check(percent: float) -> None:
    if not 0 < percent < 100:
        raise UsageError("a canary's share lies between 0 and 100 %", where=f"--percent {percent:g}")
