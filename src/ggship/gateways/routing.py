"""Put a release behind a One-API, or take it off: proven first, read again after every write, undone on failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from ggship.clock import Clock, SystemClock
from ggship.errors import GgshipError, Refused, ServerError, UsageError
from ggship.gateways.model import DISABLED, MARK, Channel, Route, differences
from ggship.gateways.one_api import OneApi, Said
from ggship.gateways.secrets import KEY
from ggship.transport import is_loopback

# With Redis or its memory cache a One-API sees its own writes only at the next refresh (songquanpeng/one-api#2309).
CACHE_SECONDS = 600
PROBE_EVERY = 1.0
WAIT_SECONDS = 15.0
# A change of one of these leads users to other words, so it is tried beside the live channel first.
LEADS_ELSEWHERE = {"type", "base_url", "models", "model_mapping"}

OnStep = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply` did. changed: field names that were written, empty where nothing was. said: the answer it got.

    shared_with: channels of others that answer for the same name.
    """

    channel: Channel
    created: bool
    changed: tuple[str, ...]
    said: Said | None
    warnings: tuple[str, ...] = ()
    shared_with: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """What `off` did. channel: None where the gateway has none of ours. probe: what clients get now, in words.

    still: channels of others that go on answering for the name.
    """

    channel: Channel | None
    changed: bool
    probe: str
    warnings: tuple[str, ...] = ()
    still: tuple[int, ...] = ()


def apply(
    gateway: OneApi,
    route: Route,
    *,
    ask: bool = True,
    wait_seconds: float = WAIT_SECONDS,
    clock: Clock | None = None,
    on_step: OnStep | None = None,
) -> Applied:
    """Make the gateway lead `route.public` to the release. Law: applying twice writes nothing the second time.

    A new channel is created switched off, tested, switched on and asked; where that fails it is taken away again. A
    channel that leads elsewhere is changed only after a trial channel proved the new way, and set back where the answer
    then fails. Channels of others are never touched. Raises UsageError, Refused or ServerError.
    """
    step = on_step or _silent
    if ask and not gateway.can_ask:
        raise UsageError(
            "a client key is needed to ask the model as a user does",
            where=f"neither {KEY} nor {KEY}_FILE is set",
            hint=f"export {KEY}_FILE=FILE, or --no-ask to leave that proof out",
        )
    gateway.need_one_api()
    channels = gateway.channels()
    ours = only_ours(gateway, channels, route.name)
    others = [c for c in channels if c.serves(route.public) and not c.belongs_to(route.name)]
    for leftover in [c for c in channels if c.is_trial_of(route.name) and not c.enabled]:
        gateway.delete(leftover.id)
    prover = _Prover(gateway, route, wait_seconds, clock or SystemClock(), step) if ask else None
    wanted = route.channel(ours.id, config=ours.config) if ours else route.channel()
    changed = tuple(sorted(differences(ours, wanted))) if ours else ("created",)
    if ours is None:
        channel, said = _create(gateway, route, wanted, prover, step)
    elif changed:
        channel, said = _change(gateway, route, ours, wanted, prover, step)
    else:
        channel, said = ours, prover.prove(ours) if prover else None
    warnings = [*_upstream_warnings(gateway, route), *_shared_warnings(route, others)]
    if said and not _same_model(said.model, route.model):
        warnings.append(f"the answer came from {said.model}: another channel serves {route.public} too")
    return Applied(channel, ours is None, changed, said, tuple(warnings), tuple(c.id for c in others))


def off(
    gateway: OneApi,
    name: str,
    *,
    wait_seconds: float = WAIT_SECONDS,
    clock: Clock | None = None,
    on_step: OnStep | None = None,
) -> SwitchedOff:
    """Switch the package's channel off and see that the gateway no longer answers. The channel stays, to come back.

    Seen is only what the gateway says itself: that it has no channel for the name. Where it fails in another way (no
    quota, too many calls, the upstream's errors), or there is no client key, the switch is read again and a warning
    says the rest. Raises ServerError where the gateway goes on answering though no other channel could.
    """
    step = on_step or _silent
    clock = clock or SystemClock()
    gateway.need_one_api()
    channels = gateway.channels()
    ours = only_ours(gateway, channels, name)
    if ours is None:
        return SwitchedOff(None, False, "")
    public = ours.models[0] if ours.models else name
    still = tuple(c.id for c in channels if c.serves(public) and not c.belongs_to(name))
    changed = ours.enabled
    if changed:
        step(f"switching channel {ours.id} off")
        ours = gateway.update(ours, replace(ours, status=DISABLED))
    warnings = []
    if gateway.options().get("AutomaticEnableChannelEnabled") == "true":
        warnings.append("this gateway switches channels on again after its own tests (AutomaticEnableChannelEnabled)")
    if still:
        warnings.append(f"channels of others go on answering for {public}: {_ids(still)}")
    if not gateway.can_ask:
        warnings.append(f"not asked as a client: {KEY} is not set")
        return SwitchedOff(ours, changed, "", tuple(warnings), still)
    step(f"asking for {public}, which should fail")
    said = _until(lambda: gateway.ask(public), lambda said: said.no_route or bool(still), wait_seconds, clock)
    if said.status == 200 and not still:
        raise ServerError(
            "the channel is off, and the gateway still answers",
            where=f"{public} at {gateway.url}, after {wait_seconds:.0f} s",
            hint=f"its cache may lag up to {CACHE_SECONDS} s: run it again with --wait {CACHE_SECONDS}",
        )
    probe = f"HTTP {said.status}: {said.problem}" if not said.ok else f"answered by {said.model}"
    if not said.no_route and not still:
        warnings.append(f"that clients no longer reach {public} could not be seen, because of another failure: {probe}")
    return SwitchedOff(ours, changed, probe, tuple(warnings), still)


def only_ours(gateway: OneApi, channels: list[Channel], name: str) -> Channel | None:
    """The one channel that ggship made for the package; None where there is none.

    Raises Refused where there are several, or where the name is taken by a channel that is not ours.
    """
    ours = [channel for channel in channels if channel.belongs_to(name)]
    wanted = Route(name, name, name, "").channel_name
    taken = [channel for channel in channels if channel.name == wanted and MARK not in channel.config]
    if taken:
        raise Refused(
            f"a channel named {wanted} is there, and ggship did not make it",
            where=f"{_ids(tuple(c.id for c in taken))} at {gateway.url}",
            hint="rename it in the gateway's web page; ggship never touches channels of others",
        )
    if len(ours) > 1:
        raise Refused(
            f"several channels are marked as ours for {name}",
            where=f"{_ids(tuple(c.id for c in ours))} at {gateway.url}",
            hint="keep one and delete the others in the gateway's web page, then run the same command again",
        )
    return ours[0] if ours else None


def _create(
    gateway: OneApi, route: Route, wanted: Channel, prover: _Prover | None, step: OnStep
) -> tuple[Channel, Said | None]:
    step("creating the channel, switched off")
    made = gateway.create(replace(wanted, status=DISABLED))
    try:
        _test(gateway, route, made, step)
        step(f"switching channel {made.id} on")
        on = gateway.update(made, replace(made, status=wanted.status))
        return on, prover.prove(on) if prover else None
    except NotYetRouted:
        raise
    except BaseException as error:
        _undo(lambda: gateway.delete(made.id), error, f"channel {made.id} could not be taken away again")
        raise


def _change(
    gateway: OneApi, route: Route, now: Channel, wanted: Channel, prover: _Prover | None, step: OnStep
) -> tuple[Channel, Said | None]:
    if LEADS_ELSEWHERE & differences(now, wanted).keys():
        mark = {**wanted.mark, "trial": True}
        name = f"{route.channel_name}#trial"
        step("trying the new way in a channel of its own, switched off")
        trial = gateway.create(replace(wanted, id=0, name=name, status=DISABLED, config={MARK: mark}))
        try:
            _test(gateway, route, trial, step)
        except BaseException as error:
            _undo(lambda: gateway.delete(trial.id), error, f"the trial, channel {trial.id}, is still there, off")
            raise
        gateway.delete(trial.id)
    elif not now.enabled:
        _test(gateway, route, now, step)
    step(f"changing channel {now.id}")
    after = gateway.update(now, wanted)
    try:
        return after, prover.prove(after) if prover else None
    except NotYetRouted:
        raise
    except BaseException as error:
        step(f"setting channel {now.id} back to what it was")
        _undo(lambda: gateway.update(after, now), error, f"channel {now.id} could not be set back to what it was")
        raise


def _undo(action: Callable[[], object], error: BaseException, otherwise: str) -> None:
    """Undo a write after `error`; where that fails too, the first error stays the one that is told, and says so."""
    try:
        action()
    except GgshipError as second:
        if isinstance(error, GgshipError):
            error.where = f"{error.where}\nand then {otherwise}: {second.message}"
            error.hint = "ggship gateway status   shows what is there now"


def _test(gateway: OneApi, route: Route, channel: Channel, step: OnStep) -> None:
    step(f"letting the gateway ask {route.model} at {route.upstream}")
    try:
        tested = gateway.test(channel.id, route.public)
    except ServerError as error:
        error.hint = error.hint or (
            "the gateway's test sets no limit, so a model that does not stop runs on: give it PARAMETER num_predict"
        )
        raise
    if not tested.ok:
        # One-API drops Ollama's own words, so we say what they mostly are.
        raise ServerError(
            "the gateway gets no answer from the model",
            where=f"{route.model} at {route.upstream}: {tested.text or 'an empty answer'}",
            hint="pass the address at which the gateway (not you) reaches Ollama: --upstream http://HOST:11434",
        )


class NotYetRouted(ServerError):
    """The channel is on and answers when it is named, but the gateway does not route to it yet."""


class _Prover:
    """Asks as a client does: through the channel itself, then as everyone."""

    def __init__(self, gateway: OneApi, route: Route, wait_seconds: float, clock: Clock, step: OnStep) -> None:
        self._gateway = gateway
        self._route = route
        self._wait = wait_seconds
        self._clock = clock
        self._step = step

    def prove(self, channel: Channel) -> Said:
        """The answer that a client gets. Raises ServerError where there is none, NotYetRouted where it may come."""
        public, model = self._route.public, self._route.model
        self._step(f"asking for {public} through channel {channel.id}")
        pinned = self._gateway.ask(public, channel=channel.id)
        if not pinned.ok and not pinned.cannot_pin:
            raise self._no_answer(pinned, f"channel {channel.id}")
        if pinned.ok and not _same_model(pinned.model, model):
            raise ServerError(
                "the channel answers with another model than the release",
                where=f"channel {channel.id}: {pinned.model}, wanted {model}",
            )
        self._step(f"asking for {public} as a client does")
        said = _until(lambda: self._gateway.ask(public), lambda said: not said.no_route, self._wait, self._clock)
        if said.no_route:
            raise NotYetRouted(
                f"channel {channel.id} is on, but the gateway does not route {public} to it yet",
                where=f"after {self._wait:.0f} s: {said.problem}",
                hint=f"its cache may lag up to {CACHE_SECONDS} s: run it again with --wait {CACHE_SECONDS}",
            )
        if not said.ok:
            raise self._no_answer(said, "as a client")
        return said

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


def _until(ask: Callable[[], Said], enough: Callable[[Said], bool], wait_seconds: float, clock: Clock) -> Said:
    end = clock.monotonic() + wait_seconds
    while True:
        said = ask()
        if enough(said) or clock.monotonic() >= end:
            return said
        clock.sleep(PROBE_EVERY)


def _upstream_warnings(gateway: OneApi, route: Route) -> list[str]:
    if is_loopback(route.upstream) and not is_loopback(gateway.url):
        return [f"{route.upstream} is the gateway's own machine, not yours (and inside Docker, its own container)"]
    return []


def _shared_warnings(route: Route, others: list[Channel]) -> list[str]:
    if not others:
        return []
    ids = _ids(tuple(c.id for c in others))
    if max(c.priority for c in others) > route.priority:
        return [f"channels of others with a higher priority serve {route.public}, so ours is never asked: {ids}"]
    if max(c.priority for c in others) == route.priority:
        return [f"channels of others serve {route.public} too, and get their share of requests: {ids}"]
    return [f"channels of others serve {route.public} too, with a lower priority: {ids}"]


def _same_model(said: str, wanted: str) -> bool:
    return said.removesuffix(":latest") == wanted.removesuffix(":latest")


def _ids(numbers: tuple[int, ...]) -> str:
    return ", ".join(f"channel {number}" for number in sorted(numbers))


def _silent(text: str) -> None:
    """Where nobody wants to know the steps."""
