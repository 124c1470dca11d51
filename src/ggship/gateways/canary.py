"""A new version for a part of the requests: beside the live one, counted, then promoted or taken away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ggship.clock import Clock, SystemClock
from ggship.errors import Refused, UnknownName, UsageError
from ggship.gateways.gateway import Gateway, Said
from ggship.gateways.model import CANARY, DISABLED, ENABLED, MARK, REPLICA, Channel, ChannelId, Route, differences
from ggship.gateways.proving import WAIT_SECONDS, OnStep, Prover, ids, same_model, silent, test_channel, undo
from ggship.gateways.routing import check_route, need_key, only_ours, reading_late, sweep, unread
from ggship.gateways.share import MOST, Counted, Split, measure, split_by_channels, split_by_weight


@dataclass(frozen=True, slots=True)
class Canary:
    """What runs now. split: channels, or weights. counted: None where nobody was asked. changed: was it written."""

    main: Channel
    canary: Channel
    split: Split
    channels: tuple[ChannelId, ...]
    changed: bool
    counted: Counted | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Promoted:
    """What `promote` did: the main channel leads to the canary's model, and the others are gone."""

    channel: Channel
    before: str
    gone: tuple[ChannelId, ...]
    said: Said | None


def start_canary(
    gateway: Gateway,
    route: Route,
    percent: float,
    *,
    most: int = MOST,
    count: int = 0,
    ask: bool = True,
    clock: Clock | None = None,
    on_step: OnStep | None = None,
    on_answer: Callable[[int], None] | None = None,
) -> Canary:
    """Lead a part of the clients to the route's model, beside the live one. Law: twice is once.

    Where the gateway heeds weights, one more channel with a weight; elsewhere equal channels share the requests out, so
    the live one gets replicas. All are made switched off, the new version is tested, and the replicas go on first: the
    new version never gets more than its share. count: how many requests to count it with.
    """
    step = on_step or silent
    ask = ask or count > 0
    need_key(gateway, ask)
    gateway.need_writable()
    check_route(gateway, route)
    channels = gateway.channels()
    main = _need_live(gateway, channels, route)
    running = _running(gateway, channels, route)
    by_weight = gateway.traits.weights
    split = split_by_weight(percent) if by_weight else split_by_channels(percent, most)
    sweep(gateway, channels, route.name)
    wanted = _wanted(gateway, main, route, split)
    changed, stand = _bring(gateway, main, wanted, running, split, step)
    first = next(c for c in stand if c.role == CANARY)
    counted = None
    if ask and not unread(gateway, changed):
        Prover(gateway, route, WAIT_SECONDS, clock or SystemClock(), step).pinned(first)
        if count:
            step(f"asking {count} times, to count who answers")
            counted = measure(gateway, main, first, count, on_answer)
    warnings = (*gateway.warnings(route.model), *reading_late(gateway, changed))
    return Canary(main, first, split, tuple(c.id for c in stand), changed, counted, warnings)


def promote_canary(
    gateway: Gateway,
    name: str,
    *,
    ask: bool = True,
    wait_seconds: float = WAIT_SECONDS,
    clock: Clock | None = None,
    on_step: OnStep | None = None,
) -> Promoted:
    """Lead all clients to the canary's model: the main channel points there, then the others go. Never without a route.

    Raises UnknownName where no canary is running; where clients get no answer from the main channel, it is set back and
    the canary goes on as it was.
    """
    step = on_step or silent
    ask = ask and not gateway.traits.restart
    need_key(gateway, ask)
    gateway.need_writable()
    channels = gateway.channels()
    main, canary, others = running_canary(gateway, channels, name)
    sweep(gateway, channels, name)
    mark = {key: value for key, value in canary.mark.items() if key not in ("role", "percent")}
    wanted = replace(
        main,
        type=canary.type,
        base_url=canary.base_url,
        model_mapping=canary.model_mapping,
        config={**main.config, MARK: mark},
        weight=0,
        status=ENABLED,
    )
    step(f"leading {main.public} to {canary.model}")
    after = gateway.update(main, wanted)
    route = Route(name, main.public, canary.model, canary.base_url)
    prover = Prover(gateway, route, wait_seconds, clock or SystemClock(), step) if ask else None
    if prover:
        try:
            prover.pinned(after)
        except BaseException as error:
            undo(lambda: gateway.update(after, main), error, f"channel {main.id} could not be set back")
            raise
    for channel in sorted(others, key=lambda c: c.role == CANARY):
        step(f"taking channel {channel.id} away")
        gateway.delete(channel.id)
    return Promoted(after, main.model, tuple(c.id for c in others), prover.prove(after) if prover else None)


def running_canary(gateway: Gateway, channels: Sequence[Channel], name: str) -> tuple[Channel, Channel, list[Channel]]:
    """(main channel, one of the canary's, all but the main one). Raises UnknownName where no canary is running."""
    main = only_ours(gateway, channels, name)
    others = [c for c in channels if c.is_of(name) and c.role in (CANARY, REPLICA)]
    canaries = [c for c in others if c.role == CANARY]
    if main is None or not canaries:
        raise UnknownName(
            f"no canary of {name} is running",
            where=gateway.url,
            hint=f"ggship gateway canary {name}@VERSION --percent 10   starts one",
        )
    return main, canaries[0], others


def _need_live(gateway: Gateway, channels: Sequence[Channel], route: Route) -> Channel:
    main = only_ours(gateway, channels, route.name)
    if main is None or not main.enabled:
        raise Refused(
            f"{route.name} is not live on this gateway, so there is nothing to run a canary beside",
            where=gateway.url,
            hint=f"ggship gateway {'on' if main else 'apply'} {route.name}",
        )
    if same_model(main.model, route.model):
        raise UsageError(
            f"{route.model} is what all clients get already",
            where=f"channel {main.id} at {gateway.url}",
            hint=f"name another version: ggship gateway canary {route.name}@VERSION",
        )
    return main


def _running(gateway: Gateway, channels: Sequence[Channel], route: Route) -> list[Channel]:
    running = [c for c in channels if c.is_of(route.name) and c.role in (CANARY, REPLICA)]
    other = [c for c in running if c.role == CANARY and not same_model(c.model, route.model)]
    if other:
        raise Refused(
            f"a canary of another version is running: {other[0].model}",
            where=f"{ids(c.id for c in other)} at {gateway.url}",
            hint=f"ggship gateway promote {route.name}   or   ggship gateway rollback {route.name}",
        )
    return running


def _wanted(gateway: Gateway, main: Channel, route: Route, split: Split) -> list[Channel]:
    """The channels beside the main one: replicas of it and the canary's, of the same tier and groups."""
    model = route.channel(types=gateway.traits.types)
    mark = {**model.mark, "role": CANARY, "percent": round(split.share * 100, 2)}
    canary = replace(model, group=main.group, priority=main.priority, models=main.models, config={MARK: mark})
    mapping = {} if main.public == route.model else {main.public: route.model}
    canary = replace(canary, model_mapping=mapping)
    if gateway.traits.weights:
        return [replace(canary, name=f"{main.name}#canary", weight=split.canary)]
    copy = {**main.config, MARK: {**main.mark, "role": REPLICA}}
    replicas = [replace(main, id=0, name=f"{main.name}#{n}", config=copy) for n in range(2, split.stable + 1)]
    return [*replicas, *(replace(canary, name=f"{main.name}#canary-{n}") for n in range(1, split.canary + 1))]


def _bring(
    gateway: Gateway, main: Channel, wanted: Sequence[Channel], running: Sequence[Channel], split: Split, step: OnStep
) -> tuple[bool, list[Channel]]:
    """Make the channels beside the main one those that are wanted; (was anything written, what stands there)."""
    there = {c.name: c for c in running}
    names = {c.name for c in wanted}
    surplus = [c for c in running if c.name not in names]
    weight = replace(main, weight=split.stable) if gateway.traits.weights else main
    made: list[Channel] = []
    try:
        for channel in [c for c in wanted if c.name not in there]:
            step(f"creating {channel.name}, switched off")
            trial = {**channel.config, MARK: {**channel.mark, "trial": True}}
            made.append(gateway.create(replace(channel, id=0, status=DISABLED, config=trial)))
            if channel.name.endswith(("#canary", "#canary-1")) and not gateway.traits.restart:
                test_channel(gateway, made[-1], step)
        there |= {c.name: c for c in made}
        changed = bool(made or surplus)
        if weight != main:
            gateway.update(main, weight)
            changed = True
        stand: list[Channel] = []
        # Replicas on, surplus canaries off, canaries on, surplus replicas off: never more than the larger share.
        for role in (REPLICA, CANARY):
            for channel in [c for c in wanted if c.mark["role"] == role]:
                now = there[channel.name]
                aim = replace(channel, id=now.id)
                if differences(now, aim):
                    step(f"switching {channel.name} on")
                    now, changed = gateway.update(now, aim), True
                stand.append(now)
            for channel in [c for c in surplus if c.role == (CANARY if role == REPLICA else REPLICA)]:
                step(f"taking {channel.name} away")
                gateway.delete(channel.id)
    except BaseException as error:
        step("taking what was made away again")
        for channel in sorted(made, key=lambda c: "#canary" not in c.name):
            undo(_deleting(gateway, channel), error, f"channel {channel.id} could not be taken away again")
        if weight != main:
            undo(lambda: _set_weight_back(gateway, main), error, f"channel {main.id} keeps a weight")
        raise
    return changed, stand


def _deleting(gateway: Gateway, channel: Channel) -> Callable[[], object]:
    return lambda: gateway.delete(channel.id)


def _set_weight_back(gateway: Gateway, main: Channel) -> None:
    now = gateway.get(main.id)
    if now.weight != main.weight:
        gateway.update(now, replace(now, weight=main.weight))


def end_canary(gateway: Gateway, name: str, *, on_step: OnStep | None = None) -> tuple[ChannelId, ...]:
    """Take a canary and the replicas beside it away, the canary first; nothing where none is running."""
    step = on_step or silent
    gateway.need_writable()
    channels = gateway.channels()
    main = only_ours(gateway, channels, name)
    running = [c for c in channels if c.is_of(name) and c.role in (CANARY, REPLICA)]
    for channel in sorted(running, key=lambda c: c.role != CANARY):
        step(f"taking channel {channel.id} away")
        gateway.delete(channel.id)
    if running and main is not None:
        _set_weight_back(gateway, replace(main, weight=0))
    return tuple(c.id for c in running)
