"""Putting a version live and taking it back: a copy by the server itself, its digest read again, written down.

Whoever calls these holds the name's turn (turns.py). Law: at every moment, also where ggship is killed, the public name
has the old or the new model; nothing is ever deleted on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ggship.clock import Clock
from ggship.errors import GateFailed, Refused, ServerError, UnknownName
from ggship.releases.history import History, Version, read_history
from ggship.releases.journal import Journal, Kind
from ggship.releases.promotion import Promotion, previous_name, promote, staging_name, temporary, version_name
from ggship.releases.proofs import Proof
from ggship.releases.turns import server_of
from ggship.runtimes.model import Runtime
from ggship.runtimes.names import full_name


@dataclass(frozen=True, slots=True)
class Released:
    """What was done. changed: False where that version was live already. version: its number; before: that of the model
    that it took the place of, None where there was none or it has no number.
    """

    promotion: Promotion
    version: int
    before: int | None
    changed: bool


def journal_of(runtime: Runtime, public: str, *, clock: Clock | None = None) -> Journal:
    """The journal of that name on the server of that runtime."""
    return Journal(server_of(runtime), public, clock=clock)


def release(
    runtime: Runtime, staging: str, public: str, digest: str, proof: Proof, *, clock: Clock | None = None
) -> Released:
    """Put the proven model, which stands under `staging`, under its version's name and then under the public one.

    The model that was live keeps its version and `previous_name`; where it had no version (made by hand, or by a ggship
    that kept none) it gets one first. Raises ServerError where the server does not hold, afterwards, what was proven.
    """
    journal = journal_of(runtime, public, clock=clock)
    history = _with_adopted(runtime, journal, coming=digest)
    number = history.number_for(digest)
    if history.live == digest and history.known(digest) and _tagged(history, number) == digest:
        return Released(Promotion(public, digest, ""), number, None, False)
    act = journal.begin("promote", number, digest, before=history.live, proof=proof)
    if not _tagged(history, number):
        source = staging if history.live != digest else public
        _copy(runtime, source, version_name(public, number), digest)
    promotion = promote(runtime, staging, public, digest)
    journal.end(act)
    return Released(promotion, number, _number(history, history.live), history.live != digest)


def put_live(
    runtime: Runtime, public: str, number: int | None = None, *, kind: Kind = "promote", clock: Clock | None = None
) -> Released:
    """Make a version live. number: None is the newest one for "promote", the one that was live before for "rollback".

    Raises UnknownName where there is no such version, Refused where its model is gone or its name has another one now.
    """
    journal = journal_of(runtime, public, clock=clock)
    history = _with_adopted(runtime, journal)
    target = _target(history, number, kind)
    if history.live == target.digest:
        return Released(Promotion(public, target.digest, ""), target.number, None, False)
    source = _source(history, target)
    act = journal.begin(kind, target.number, target.digest, before=history.live, proof=target.first.proof)
    if source == _full(previous_name(public)):
        # The very copy that promotion writes the present model to, so it waits elsewhere meanwhile.
        with temporary(runtime, staging_name(public)):
            _copy(runtime, source, staging_name(public), target.digest)
            promotion = promote(runtime, staging_name(public), public, target.digest)
    else:
        promotion = promote(runtime, source, public, target.digest)
    journal.end(act)
    return Released(promotion, target.number, _number(history, history.live), True)


def need_proven(history: History, number: int | None, *, force: bool = False) -> tuple[str, ...]:
    """Raise GateFailed where the version that `promote` would make live did not pass; a warning with `force`, and where
    nothing is known of its proof.
    """
    target = _target(history, number, "promote")
    proof = target.first.proof
    if proof.passed:
        return ()
    if proof.passed is None:
        return (f"v{target.number} was taken in as it was: nothing is known of its proof",)
    if not force:
        raise GateFailed(
            f"v{target.number} of {history.shown} did not pass when it was made",
            where="\n".join(proof.gates),
            hint="--force makes it live all the same",
        )
    return (f"v{target.number} did not pass when it was made",)


@dataclass(frozen=True, slots=True)
class Pruned:
    """removed: versions whose names were taken away; left: those that should go and were not, each with why."""

    removed: tuple[int, ...]
    left: tuple[tuple[int, str], ...]


def prune(runtime: Runtime, public: str, keep: int, *, dry_run: bool = False, clock: Clock | None = None) -> Pruned:
    """Take the names of old versions away, so that the server can free what nothing else needs.

    The newest `keep` stay, and always the live one, the one before, and what `previous_name` has. A name that has
    another model than was released is left alone, and so is one that the journal does not know. Doing it again does
    nothing.
    """
    journal = journal_of(runtime, public, clock=clock)
    history = read_history(runtime, journal)
    needed = {history.live, history.before, history.held.get(_full(previous_name(public)), "")}
    there = [version for version in history.versions if version.held]
    removed, left = [], []
    for version in there[: max(0, len(there) - keep)]:
        if version.held != version.digest:
            left.append((version.number, "its name has another model than was released"))
        elif version.digest in needed:
            left.append((version.number, "it is live" if version.digest == history.live else "it was live before"))
        else:
            if not dry_run:
                act = journal.begin("prune", version.number, version.digest, before=history.live)
                runtime.delete(version_name(public, version.number))
                journal.end(act)
            removed.append(version.number)
    return Pruned(tuple(removed), tuple(left))


def _with_adopted(runtime: Runtime, journal: Journal, *, coming: str = "") -> History:
    """The history, in which what is live has a version, and what was live before it by `previous_name` too.

    coming: the model that is being released, which is about to get its own.
    """
    history = read_history(runtime, journal)
    if not history.live or (history.known(history.live) and (not history.before or history.known(history.before))):
        return history
    for name in (previous_name(journal.public), journal.public):
        digest = history.held.get(_full(name), "")
        if digest and digest != coming and not history.known(digest):
            number = history.number_for(digest)
            act = journal.begin("adopt", number, digest, before=history.live)
            if not _tagged(history, number):
                _copy(runtime, name, version_name(journal.public, number), digest)
            journal.end(act)
            history = read_history(runtime, journal)
    return history


def _target(history: History, number: int | None, kind: Kind) -> Version:
    if not history.versions:
        raise UnknownName(
            f"nothing was released as {history.shown} yet",
            where=history.server,
            hint=f"ggship package RUN --name {history.shown}",
        )
    if number is not None:
        found = history.version(number)
        if found is None:
            raise UnknownName(
                f"{history.shown} has no version v{number}",
                where=f"known at {history.server}: {_list(history.versions)}",
                hint=f"ggship releases {history.shown}",
            )
        return found
    if kind == "promote":
        return history.versions[-1]
    found = history.of_digest(history.before) if history.before else None
    if found is None:
        raise UnknownName(
            f"nothing was live as {history.shown} before, so there is nothing to go back to",
            where=f"known at {history.server}: {_list(history.versions)}",
            hint="--to vN names a version",
        )
    return found


def _source(history: History, target: Version) -> str:
    """The name that the server holds this very model under. Refused where it holds it no longer."""
    own = _full(version_name(history.public, target.number))
    for name in (own, _full(previous_name(history.public))):
        if history.held.get(name) == target.digest:
            return name
    name = version_name(history.public, target.number)
    if target.held:
        raise Refused(
            f"{name} is no longer the model that was released",
            where=f"{history.server}: {target.held[:12]}, released was {target.digest[:12]}",
            hint=_again(history, target),
        )
    raise Refused(
        f"{name} is gone from the server" + (": it was pruned" if target.state == "pruned" else ""),
        where=f"{history.server}: no tag of it has {target.digest[:12]}",
        hint=_again(history, target),
    )


def _again(history: History, target: Version) -> str:
    there = [version for version in history.versions if version.held == version.digest and version != target]
    kept = target.first.proof.package
    return (
        (f"versions that can be made live: {_list(there)}" if there else "no other version is there either")
        + (f"\nits package was {kept}" if kept else "")
    )  # fmt: skip


def _copy(runtime: Runtime, source: str, target: str, digest: str) -> None:
    runtime.copy(source, target)
    now = runtime.digest(target)
    if now != digest:
        raise ServerError(
            "the copy is not the model that was to be copied: someone changed it meanwhile",
            where=f"{source} -> {target}: {now or 'gone'}, expected {digest}",
            hint="nothing live was changed; run the same command again",
        )


def _tagged(history: History, number: int) -> str:
    return history.held.get(_full(version_name(history.public, number)), "")


def _number(history: History, digest: str) -> int | None:
    version = history.of_digest(digest)
    return version.number if version else None


def _list(versions: Sequence[Version]) -> str:
    return ", ".join(f"v{version.number}" for version in versions) or "none"


def _full(name: str) -> str:
    return full_name(name).lower()
