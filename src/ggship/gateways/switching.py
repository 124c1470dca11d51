"""The degradation switch: a model off the gateway, softly onto its base, back on, or gone for good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ggship.clock import Clock, SystemClock
from ggship.errors import ServerError
from ggship.gateways.gateway import Gateway, Said
from ggship.gateways.model import CANARY, DISABLED, ENABLED, MARK, PARKED_GROUP, Channel, ChannelId, Route
from ggship.gateways.proving import (
    WAIT_SECONDS,
    OnStep,
    Prover,
    ids,
    lag_hint,
    same_model,
    silent,
    test_channel,
    undo,
    until,
)
from ggship.gateways.routing import need_key, only_ours, reading_late, sweep, try_beside, unread
from ggship.gateways.secrets import KEY


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """What `off` did. channel: None where the gateway has none of ours. probe: what clients get now, in words.

    still: channels of others that go on answering for the name. also: our other channels, of a canary, off as well.
    """

    channel: Channel | None
    changed: bool
    probe: str
    warnings: tuple[str, ...] = ()
    still: tuple[ChannelId, ...] = ()
    also: tuple[ChannelId, ...] = ()


@dataclass(frozen=True, slots=True)
class SwitchedOn:
    """What `on` did. changed: whether anything was. said: the answer that a client gets."""

    channel: Channel | None
    changed: bool
    said: Said | None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Removed:
    """What `remove` did. channels: those that are gone. probe: what clients get now."""

    channels: tuple[ChannelId, ...]
    probe: str
    warnings: tuple[str, ...] = ()


def off(
    gateway: Gateway,
    name: str,
    *,
    hard: bool = False,
    wait_seconds: float = WAIT_SECONDS,
    clock: Clock | None = None,
    on_step: OnStep | None = None,
) -> SwitchedOff:
    """Switch the package's channels off and see that the gateway no longer answers. They stay, to come back.

    hard: park them in a group that no user is in too, so that the gateway's own tests cannot bring them back. Seen is
    only what the gateway says itself: that it has no channel for the name. Where it fails in another way (no quota, too
    many calls, the upstream's errors), or there is no client key, the switch is read again and a warning says the rest.
    Raises ServerError where the gateway goes on answering though no other channel could.
    """
    step = on_step or silent
    gateway.need_writable()
    channels = gateway.channels()
    ours = only_ours(gateway, channels, name)
    all_ours = [c for c in channels if c.is_of(name)]
    if ours is None and not all_ours:
        return SwitchedOff(None, False, "")
    ours = ours or all_ours[0]
    public = ours.public or name
    still = tuple(c.id for c in channels if c.serves(public) and not c.is_of(name))
    # The canary goes first: for a moment fewer clients get the new version, never more.
    changed = False
    for channel in sorted(all_ours, key=lambda c: c.role != CANARY):
        wanted = _parked(channel) if hard and gateway.traits.groups else replace(channel, status=DISABLED)
        if wanted != channel:
            step(f"switching channel {channel.id} off")
            after = gateway.update(channel, wanted)
            changed = True
            ours = after if channel.id == ours.id else ours
    warnings = []
    reason = gateway.comes_back()
    if reason and not hard:
        warnings.append(f"{reason}; --hard parks the channel so that it stays off")
    late = reading_late(gateway, changed)
    probe, more = ("", late) if late else _gone(gateway, public, still, wait_seconds, clock or SystemClock(), step)
    also = tuple(c.id for c in all_ours if c.id != ours.id)
    return SwitchedOff(ours, changed, probe, (*warnings, *more), still, also)


def fall_back(
    gateway: Gateway,
    name: str,
    model: str,
    *,
    ask: bool = True,
    wait_seconds: float = WAIT_SECONDS,
    clock: Clock | None = None,
    on_step: OnStep | None = None,
) -> SwitchedOff:
    """Lead the package's clients to another model of the same upstream, mostly its base: a softer fall than `off`.

    The fall is tried in a channel of its own first. What it led to before is kept in the channel's mark, for `on`.
    """
    step = on_step or silent
    need_key(gateway, ask)
    gateway.need_writable()
    channels = gateway.channels()
    ours = only_ours(gateway, channels, name)
    if ours is None:
        return SwitchedOff(None, False, "")
    sweep(gateway, channels, name)
    before = {"model": ours.model, **({"digest": ours.mark["digest"]} if ours.mark.get("digest") else {})}
    mark = {"name": name, "model": model, "before": ours.mark.get("before") or before}
    mapping = {} if ours.public == model else {ours.public: model}
    wanted = replace(ours, model_mapping=mapping, status=ENABLED, config={**ours.config, MARK: mark})
    changed = wanted != ours
    others = [c for c in channels if c.is_of(name) and c.id != ours.id and c.enabled]
    if changed:
        try_beside(gateway, wanted, step)
        step(f"leading {ours.public} to {model}")
        after = gateway.update(ours, wanted)
    else:
        after = ours
    for channel in others:
        step(f"switching channel {channel.id} off")
        gateway.update(channel, replace(channel, status=DISABLED))
    said = None
    if ask and not unread(gateway, changed or bool(others)):
        route = Route(name, ours.public, model, ours.base_url)
        try:
            said = Prover(gateway, route, wait_seconds, clock or SystemClock(), step).prove(after)
        except ServerError as error:
            if changed:
                undo(lambda: gateway.update(after, ours), error, f"channel {ours.id} could not be set back")
            raise
    probe = f"answered by {said.model}" if said else ""
    warnings = reading_late(gateway, changed or bool(others))
    if said and not said.deployment and not same_model(said.model, model):
        warnings = (f"the answer came from {said.model}: another channel serves {ours.public} too",)
    return SwitchedOff(after, changed or bool(others), probe, warnings, (), tuple(c.id for c in others))


def on(
    gateway: Gateway,
    name: str,
    *,
    ask: bool = True,
    wait_seconds: float = WAIT_SECONDS,
    clock: Clock | None = None,
    on_step: OnStep | None = None,
) -> SwitchedOn:
    """Bring back what `off` took away, parked or led to the base: each channel is tested before it is switched on.

    The canary's channels come last. Where clients then get no answer, all is set back. Raises ServerError.
    """
    step = on_step or silent
    need_key(gateway, ask)
    gateway.need_writable()
    channels = gateway.channels()
    ours = only_ours(gateway, channels, name)
    if ours is None:
        return SwitchedOn(None, False, None)
    sweep(gateway, channels, name)
    mine = [c for c in channels if c.is_of(name) and c.role != "trial"]
    written: list[tuple[Channel, Channel]] = []
    main = ours
    try:
        for channel in sorted(mine, key=lambda c: (c.role == CANARY, c.id != ours.id)):
            wanted = _restored(channel)
            if wanted == channel:
                continue
            if wanted.model != channel.model:
                try_beside(gateway, wanted, step)
            elif not gateway.traits.restart:
                test_channel(gateway, channel, step)
            step(f"switching channel {channel.id} on")
            after = gateway.update(channel, wanted)
            written.append((after, channel))
            main = after if channel.id == ours.id else main
        said = None
        if ask and not unread(gateway, bool(written)):
            route = Route(name, main.public, main.model, main.base_url)
            said = Prover(gateway, route, wait_seconds, clock or SystemClock(), step).prove(main)
    except ServerError as error:
        for after, before in reversed(written):
            undo(_setting_back(gateway, after, before), error, f"channel {before.id} could not be set back")
        raise
    return SwitchedOn(main, bool(written), said, reading_late(gateway, bool(written)))


def remove(
    gateway: Gateway,
    name: str,
    *,
    wait_seconds: float = WAIT_SECONDS,
    clock: Clock | None = None,
    on_step: OnStep | None = None,
) -> Removed:
    """Take every channel of the package away, switched off first, and see that clients get no answer."""
    step = on_step or silent
    gateway.need_writable()
    channels = gateway.channels()
    only_ours(gateway, channels, name)
    mine = [c for c in channels if c.is_of(name)]
    if not mine:
        return Removed((), "")
    public = next((c.public for c in mine if c.public), name)
    still = tuple(c.id for c in channels if c.serves(public) and not c.is_of(name))
    for channel in sorted(mine, key=lambda c: c.role != CANARY):
        step(f"taking channel {channel.id} away")
        gateway.delete(channel.id)
    late = reading_late(gateway, True)
    probe, warnings = ("", late) if late else _gone(gateway, public, still, wait_seconds, clock or SystemClock(), step)
    return Removed(tuple(c.id for c in mine), probe, warnings)


def _gone(
    gateway: Gateway, public: str, still: Sequence[ChannelId], wait_seconds: float, clock: Clock, step: OnStep
) -> tuple[str, tuple[str, ...]]:
    """What clients get for a name that should be off, in words, and what could not be seen."""
    warnings: list[str] = []
    if still:
        warnings.append(f"channels of others go on answering for {public}: {ids(still)}")
    if not gateway.can_ask:
        return "", (*warnings, f"not asked as a client: {KEY} is not set")
    step(f"asking for {public}, which should fail")
    said = until(lambda: gateway.ask(public), lambda said: said.no_route or bool(still), wait_seconds, clock)
    if said.status == 200 and not still:
        raise ServerError(
            "the channel is off, and the gateway still answers",
            where=f"{public} at {gateway.url}, after {wait_seconds:.0f} s",
            hint=lag_hint(gateway),
        )
    probe = f"HTTP {said.status}: {said.problem}" if not said.ok else f"answered by {said.model}"
    if not said.no_route and not still:
        warnings.append(f"that clients no longer reach {public} could not be seen, because of another failure: {probe}")
    return probe, tuple(warnings)


def _parked(channel: Channel) -> Channel:
    if channel.group == (PARKED_GROUP,):
        return replace(channel, status=DISABLED)
    mark = {**channel.mark, "group": ",".join(channel.group)}
    return replace(channel, status=DISABLED, group=(PARKED_GROUP,), config={**channel.config, MARK: mark})


def _restored(channel: Channel) -> Channel:
    """The channel as it was before it was switched off, parked or led elsewhere."""
    mark = dict(channel.mark)
    group, before = mark.pop("group", None), mark.pop("before", None)
    mapping = channel.model_mapping
    if isinstance(before, dict) and before.get("model"):
        mark.pop("digest", None)
        mark.update(before)
        mapping = {} if channel.public == before["model"] else {channel.public: before["model"]}
    groups = tuple(str(group).split(",")) if group else channel.group
    return replace(channel, status=ENABLED, group=groups, model_mapping=mapping, config={**channel.config, MARK: mark})


def _setting_back(gateway: Gateway, after: Channel, before: Channel) -> Callable[[], object]:
    return lambda: gateway.update(after, before)
