"""Put a release behind a gateway: planned, proven first, read again after every write, undone on failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ggship.clock import Clock, SystemClock
from ggship.errors import Refused, UsageError
from ggship.gateways.gateway import LIMITS_CHECK, Gateway, Said
from ggship.gateways.model import DISABLED, MARK, Channel, ChannelId, Route, differences, to_json
from ggship.gateways.proving import (
    WAIT_SECONDS,
    NotYetRouted,
    OnStep,
    Prover,
    ids,
    same_model,
    silent,
    test_channel,
    undo,
)
from ggship.gateways.secrets import KEY
from ggship.transport import is_loopback

RESTART = "LiteLLM reads this file when it starts: restart it, then run the same command again, which asks"
# A change of one of these leads users to other words, so it is tried beside the live channel first.
LEADS_ELSEWHERE = {"type", "base_url", "models", "model_mapping"}


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
    shared_with: tuple[ChannelId, ...] = ()


@dataclass(frozen=True, slots=True)
class Planned:
    """What `apply` would do. now: our channel, None where it would be made. changes: field -> (now, then)."""

    now: Channel | None
    wanted: Channel
    changes: Mapping[str, tuple[Any, Any]]
    warnings: tuple[str, ...]


def plan(gateway: Gateway, route: Route) -> Planned:
    """What `apply` would write, and what is worth knowing before it does. Changes nothing."""
    gateway.need_writable()
    check_route(gateway, route)
    channels = gateway.channels()
    ours = only_ours(gateway, channels, route.name)
    wanted = _wanted(gateway, route, ours)
    before = to_json(ours) if ours else {}
    fields = differences(ours, wanted) if ours else {k: v for k, v in to_json(wanted).items() if v not in ("", None)}
    changes = {key: (before.get(key), value) for key, value in fields.items()}
    warnings = _warnings(gateway, route, _others(channels, route))
    canaries = [c for c in channels if c.is_of(route.name) and c.role in ("canary", "replica")]
    if canaries:
        warnings.append(f"a canary is running ({ids(c.id for c in canaries)}): `apply` refuses until it has ended")
    return Planned(ours, wanted, changes, tuple(warnings))


def apply(
    gateway: Gateway,
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
    then fails. Channels of others are never touched. A gateway that reads its channels only when it starts is written
    and not asked. Raises UsageError, Refused or ServerError.
    """
    step = on_step or silent
    need_key(gateway, ask)
    gateway.need_writable()
    check_route(gateway, route)
    channels = gateway.channels()
    ours = only_ours(gateway, channels, route.name)
    no_canary(gateway, channels, route.name)
    others = _others(channels, route)
    sweep(gateway, channels, route.name)
    wanted = _wanted(gateway, route, ours)
    changed = tuple(sorted(differences(ours, wanted))) if ours else ("created",)
    ask = ask and not unread(gateway, bool(changed))
    prover = Prover(gateway, route, wait_seconds, clock or SystemClock(), step) if ask else None
    if ours is None:
        channel, said = _create(gateway, wanted, prover, step)
    elif changed:
        channel, said = _change(gateway, ours, wanted, prover, step)
    else:
        channel, said = ours, prover.prove(ours) if prover else None
    warnings = [*_warnings(gateway, route, others), *reading_late(gateway, bool(changed))]
    if said and not said.deployment and not same_model(said.model, route.model):
        warnings.append(f"the answer came from {said.model}: another channel serves {route.public} too")
    return Applied(channel, ours is None, changed, said, tuple(warnings), tuple(c.id for c in others))


def unread(gateway: Gateway, changed: bool) -> bool:
    """Whether the gateway cannot know yet what was written, or there is no key to see it with."""
    return gateway.traits.restart and (changed or not gateway.can_ask)


def reading_late(gateway: Gateway, changed: bool) -> tuple[str, ...]:
    """What is to be done so that the gateway reads what was written."""
    return (RESTART,) if gateway.traits.restart and changed else ()


def need_key(gateway: Gateway, ask: bool) -> None:
    """Raise UsageError where the model is to be asked and there is no key to do it with."""
    if ask and not gateway.can_ask and not gateway.traits.restart:
        raise UsageError(
            "a client key is needed to ask the model as a user does",
            where=f"neither {KEY} nor {KEY}_FILE is set",
            hint=f"export {KEY}_FILE=FILE, or --no-ask to leave that proof out",
        )


def check_route(gateway: Gateway, route: Route) -> None:
    """Raise Refused for a limit that this gateway would not hold."""
    if not gateway.traits.groups and route.group != "default":
        raise UsageError(f"{gateway.traits.flavour} has no user groups", where=f"--group {route.group}")
    if (route.rpm or route.tpm) and gateway.traits.limits and not gateway.holds_limits():
        raise Refused(
            "LiteLLM would not hold that limit: without a check of its own, rpm and tpm are only weights",
            where=f"{gateway.url}: router_settings has no {LIMITS_CHECK}, or its key may not see it",
            hint=f'router_settings: {{optional_pre_call_checks: ["{LIMITS_CHECK}"]}}   in its file, then restart it',
        )
    if (route.rpm or route.tpm) and not gateway.traits.limits:
        theirs = (
            "new-api limits users and groups, for all their models alike (its option ModelRequestRateLimitGroup)"
            if gateway.traits.flavour == "new-api"
            else f"{gateway.traits.flavour} has no limit on what clients ask, only on its web pages"
        )
        raise Refused(
            f"{gateway.traits.flavour} cannot limit the requests for one model",
            where=theirs,
            hint="a key with a quota; limit_req of an nginx before it; OLLAMA_MAX_QUEUE behind it; or LiteLLM",
        )


def only_ours(gateway: Gateway, channels: Sequence[Channel], name: str) -> Channel | None:
    """The one channel that ggship made for the package; None where there is none.

    Raises Refused where there are several, or where the name is taken by a channel that is not ours.
    """
    ours = [channel for channel in channels if channel.belongs_to(name)]
    wanted = Route(name, name, name, "").channel_name
    taken = [channel for channel in channels if channel.name == wanted and MARK not in channel.config]
    if taken:
        raise Refused(
            f"a channel named {wanted} is there, and ggship did not make it",
            where=f"{ids(c.id for c in taken)} at {gateway.url}",
            hint="rename it in the gateway's web page; ggship never touches channels of others",
        )
    if len(ours) > 1:
        raise Refused(
            f"several channels are marked as ours for {name}",
            where=f"{ids(c.id for c in ours)} at {gateway.url}",
            hint="keep one and delete the others in the gateway's web page, then run the same command again",
        )
    return ours[0] if ours else None


def as_it_is(gateway: Gateway, route: Route, now: Channel | None) -> Route:
    """The route in the shape that our channel has now: its public name, groups, mode and limits."""
    if now is None:
        return route
    mode = next((mode for mode, kind in gateway.traits.types.items() if kind == now.type), route.mode)
    parked = str(now.mark.get("group") or ",".join(now.group))  # a parked channel's own groups stand in its mark
    return replace(route, public=now.public or route.public, group=parked, mode=mode, rpm=now.rpm, tpm=now.tpm)


def no_canary(gateway: Gateway, channels: Sequence[Channel], name: str) -> None:
    """Raise Refused while a canary of the package is running."""
    running = [c.id for c in channels if c.is_of(name) and c.role in ("canary", "replica")]
    if running:
        raise Refused(
            f"a canary of {name} is running",
            where=f"{ids(running)} at {gateway.url}",
            hint=f"ggship gateway promote {name}   or   ggship gateway rollback {name}",
        )


def sweep(gateway: Gateway, channels: Sequence[Channel], name: str) -> None:
    """Take away the trials that a killed ggship left: they were never switched on."""
    for leftover in [c for c in channels if c.is_trial_of(name) and not c.enabled]:
        gateway.delete(leftover.id)


def _wanted(gateway: Gateway, route: Route, ours: Channel | None) -> Channel:
    types = gateway.traits.types
    if ours is None:
        return route.channel(types=types)
    return route.channel(ours.id, config=ours.config, types=types)


def _others(channels: Sequence[Channel], route: Route) -> list[Channel]:
    return [c for c in channels if c.serves(route.public) and not c.is_of(route.name)]


def _create(gateway: Gateway, wanted: Channel, prover: Prover | None, step: OnStep) -> tuple[Channel, Said | None]:
    step("creating the channel, switched off")
    made = gateway.create(replace(wanted, status=DISABLED))
    try:
        test_channel(gateway, made, step)
        step(f"switching channel {made.id} on")
        on = gateway.update(made, replace(made, status=wanted.status))
        return on, prover.prove(on) if prover else None
    except NotYetRouted:
        raise
    except BaseException as error:
        undo(lambda: gateway.delete(made.id), error, f"channel {made.id} could not be taken away again")
        raise


def _change(
    gateway: Gateway, now: Channel, wanted: Channel, prover: Prover | None, step: OnStep
) -> tuple[Channel, Said | None]:
    if LEADS_ELSEWHERE & differences(now, wanted).keys():
        try_beside(gateway, wanted, step)
    elif not now.enabled:
        test_channel(gateway, now, step)
    step(f"changing channel {now.id}")
    after = gateway.update(now, wanted)
    try:
        return after, prover.prove(after) if prover else None
    except NotYetRouted:
        raise
    except BaseException as error:
        step(f"setting channel {now.id} back to what it was")
        undo(lambda: gateway.update(after, now), error, f"channel {now.id} could not be set back to what it was")
        raise


def try_beside(gateway: Gateway, wanted: Channel, step: OnStep) -> None:
    """Prove a new way in a channel of its own, switched off; it is taken away again, whatever comes of it."""
    if gateway.traits.restart:
        return  # nothing can be asked through a channel that the gateway has not read yet
    mark = {**wanted.mark, "trial": True}
    step("trying the new way in a channel of its own, switched off")
    trial = gateway.create(
        replace(wanted, id=0, name=f"{wanted.name}#trial", status=DISABLED, config={MARK: mark}),
    )
    try:
        test_channel(gateway, trial, step)
    except BaseException as error:
        undo(lambda: gateway.delete(trial.id), error, f"the trial, channel {trial.id}, is still there, off")
        raise
    gateway.delete(trial.id)


def _warnings(gateway: Gateway, route: Route, others: Sequence[Channel]) -> list[str]:
    found = [*_upstream_warnings(gateway, route), *_shared_warnings(route, others), *gateway.warnings(route.model)]
    if gateway.traits.flavour == "one-api" and route.mode == "native":
        found.append("One-API drops stop, tools and response_format on this kind of channel: --mode openai keeps them")
    return found


def _upstream_warnings(gateway: Gateway, route: Route) -> list[str]:
    if is_loopback(route.upstream) and not is_loopback(gateway.url):
        return [f"{route.upstream} is the gateway's own machine, not yours (and inside Docker, its own container)"]
    return []


def _shared_warnings(route: Route, others: Sequence[Channel]) -> list[str]:
    if not others:
        return []
    theirs = ids(c.id for c in others)
    if max(c.priority for c in others) > route.priority:
        return [f"channels of others with a higher priority serve {route.public}, so ours is never asked: {theirs}"]
    if max(c.priority for c in others) == route.priority:
        return [f"channels of others serve {route.public} too, and get their share of requests: {theirs}"]
    return [f"channels of others serve {route.public} too, with a lower priority: {theirs}"]
