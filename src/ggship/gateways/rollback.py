"""Take the last command back: what the journal says was there before is put there again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ggship.clock import Clock, SystemClock
from ggship.errors import Refused, ServerError, UnknownName
from ggship.gateways.gateway import Gateway, Said
from ggship.gateways.journal import Act, Journal, Net
from ggship.gateways.model import CANARY, MAIN, Channel, Route, differences
from ggship.gateways.proving import WAIT_SECONDS, OnStep, Prover, silent
from ggship.gateways.routing import need_key


def _order(plan: tuple[str, Channel | None, Channel | None]) -> tuple[int, bool]:
    """What is to be there comes first, so that the name is always answered; a canary goes before weights change."""
    kind, now, aim = plan
    canary = (now or aim) is not None and (now or aim).role == CANARY  # type: ignore[union-attr]
    return {"create": 0, "update": 2, "delete": 1 if canary else 3}[kind], canary


@dataclass(frozen=True, slots=True)
class RolledBack:
    """What was taken back. act: the command it was, and when. model: what clients are led to now; "" for nothing.

    said: the answer that a client gets, None where none was asked for.
    """

    act: Act
    channels: tuple[Channel, ...]
    model: str
    said: Said | None


def last_act(journal: Journal, name: str) -> Act:
    """The newest command that changed something and was not taken back. Raises UnknownName where there is none."""
    acts = journal.acts(name)
    undone = {act.undoes for act in acts if act.undoes and act.ended}
    left = [act for act in acts if act.changed and not act.undoes and act.id not in undone]
    if not left:
        raise UnknownName(
            f"nothing that ggship did to {name} on this gateway is left to take back",
            where=str(journal.path) if journal.path.exists() else f"no journal here: {journal.path}",
            hint="ggship gateway rollback NAME --to VERSION   leads clients to a version by its name",
        )
    return left[-1]


def rollback(
    gateway: Gateway,
    act: Act,
    *,
    ask: bool = True,
    force: bool = False,
    wait_seconds: float = WAIT_SECONDS,
    clock: Clock | None = None,
    on_step: OnStep | None = None,
) -> RolledBack:
    """Put back what was there before the act. Raises Refused where another admin changed it since; `force` overrides.

    All of it is looked at before anything is written. Channels that come back have a new id, so they are found by name.
    """
    step = on_step or silent
    gateway.need_writable()
    plans = [plan for plan in (_turned_back(gateway, net, force) for net in act.changed) if plan]
    leads = any(net.before and net.before.enabled and net.before.role == MAIN for net in act.changed)
    ask = ask and leads and not gateway.traits.restart
    need_key(gateway, ask)
    for kind, now, aim in sorted(plans, key=_order):
        if kind == "create" and aim:
            step(f"making {aim.name} again")
            gateway.create(replace(aim, id=0))
        elif kind == "update" and now and aim:
            step(f"setting channel {now.id} back")
            gateway.update(now, aim)
        elif now:
            step(f"taking channel {now.id} away")
            gateway.delete(now.id)
    mine = [c for c in gateway.channels() if c.is_of(act.name)]
    main = next((c for c in mine if c.belongs_to(act.name) and c.enabled), None)
    said = None
    if ask and main:
        route = Route(act.name, main.public, main.model, main.base_url)
        said = Prover(gateway, route, wait_seconds, clock or SystemClock(), step).prove(main)
    return RolledBack(act, tuple(mine), main.model if main else "", said)


def _turned_back(gateway: Gateway, net: Net, force: bool) -> tuple[str, Channel | None, Channel | None] | None:
    """(what to do, the channel now, the channel as it was); None where it is so already."""
    known = net.after or net.before
    if known is None:
        return None
    now = _standing(gateway, known)
    if net.before is None:
        if now is not None and net.sure and net.after:
            _need_untouched(gateway, now, net.after, force)
        return ("delete", now, None) if now else None
    if now is None:
        return ("create", None, net.before)
    aim = replace(net.before, id=now.id)
    if not differences(now, aim):
        return None
    if net.after is not None and net.sure:
        _need_untouched(gateway, now, net.after, force)
    return ("update", now, aim)


def _standing(gateway: Gateway, known: Channel) -> Channel | None:
    """The channel as it is now: by its id if that is still ours, else by its name, for one that was made again."""
    try:
        found = gateway.get(known.id) if known.id else None
    except ServerError as error:
        if error.status is not None and error.status >= 500:
            raise
        found = None
    if found is not None and found.is_of(str(known.mark.get("name"))):
        return found
    named = [c for c in gateway.find(known.name) if c.is_of(str(known.mark.get("name"))) and c.role == known.role]
    return named[0] if len(named) == 1 else None


def _need_untouched(gateway: Gateway, now: Channel, after: Channel, force: bool) -> None:
    foreign = differences(after, replace(now, id=after.id))
    if foreign and not force:
        raise Refused(
            f"channel {now.id} was changed by someone else since, and nothing was taken back",
            where=f"{gateway.url}: {', '.join(sorted(foreign))}",
            hint="ggship gateway status   shows it; --force writes over it",
        )
