"""What a journal and a server together say of a release: its versions, what is live, what was before, what drifted."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ggship.errors import UsageError
from ggship.releases.journal import Act, Journal, journals_of
from ggship.releases.names import recall
from ggship.releases.promotion import bare_name, previous_name, version_name, version_stem
from ggship.runtimes.model import Runtime
from ggship.runtimes.names import full_name

State = Literal["live", "before", "held", "gone", "changed", "pruned"]


@dataclass(frozen=True, slots=True)
class Version:
    """One version. first, last: the acts that made it, and that put it live last. held: the digest that the server has
    under its own name now, "" for none.

    state: live, before (what a rollback brings back), held, gone, changed (its name has another model), pruned.
    """

    number: int
    digest: str
    first: Act
    last: Act
    held: str
    state: State


@dataclass(frozen=True, slots=True)
class History:
    """A release on one server. live: the digest that the public name has there now, "" for none.

    before: the digest that was live before it, "" where nothing is known. held: full names of the model's tags, lower
    case, with their digests. drift: where the server is not as the journal has it, a sentence each. taken: numbers
    whose names are public names themselves, such as the law:v2 of someone who numbered by hand.
    """

    public: str
    server: str
    live: str
    before: str
    versions: tuple[Version, ...]
    acts: tuple[Act, ...]
    held: Mapping[str, str]
    drift: tuple[str, ...]
    torn: int = 0
    taken: frozenset[int] = frozenset()

    @property
    def shown(self) -> str:
        """The public name as people write it."""
        return self.public.removesuffix(":latest")

    def version(self, number: int) -> Version | None:
        """The version of that number."""
        return next((version for version in self.versions if version.number == number), None)

    def of_digest(self, digest: str) -> Version | None:
        """The version that is that model."""
        return next((version for version in self.versions if version.digest == digest), None)

    def known(self, digest: str) -> bool:
        """Whether any act was on that model."""
        return self.of_digest(digest) is not None

    def number_for(self, digest: str) -> int:
        """The number of that model: its own where it has one, in the journal or on the server; else the next free."""
        own = self.of_digest(digest)
        if own is not None:
            return own.number
        tagged = numbers_held(self.public, self.held)
        for number, there in sorted(tagged.items()):
            if there == digest and self.version(number) is None and number not in self.taken:
                return number
        return max([version.number for version in self.versions] + [*tagged, *self.taken, 0]) + 1


def read_history(runtime: Runtime, journal: Journal) -> History:
    """The journal held against the server."""
    held = held_names(runtime, journal.public)
    return history_of(journal, held)


def history_of(journal: Journal, held: Mapping[str, str]) -> History:
    """The journal held against what a server holds."""
    acts = journal.acts()
    live = held.get(journal.public, "")
    row = [digest for digest in timeline(acts, live) if digest]
    before = next((digest for digest in reversed(row) if digest != live), "")
    if not before:  # of a ggship that kept no journal
        before = held.get(full_name(previous_name(journal.public)).lower(), "")
        before = "" if before == live else before
    versions = _versions(journal.public, acts, held, live, before)
    taken = frozenset(number for number in numbers_held(journal.public, held) if _is_public(journal.public, number))
    drift = tuple(_drift(journal.public, acts, versions, held, live, row, taken))
    return History(journal.public, journal.server, live, before, versions, acts, held, drift, journal.torn(), taken)


def _is_public(public: str, number: int) -> bool:
    name = version_name(public, number).lower()
    return bool(journals_of(name)) or recall(name) is not None


def held_names(runtime: Runtime, public: str) -> dict[str, str]:
    """Every tag of that model that the server holds, as full names in lower case, with their digests."""
    client = getattr(runtime, "client", None)
    if client is None:
        return {}
    names = {full_name(str(model.get("name", ""))).lower(): model for model in client.tags()}
    wanted = bare_name(full_name(public).lower())
    return {
        name: str(model["digest"]).removeprefix("sha256:") for name, model in names.items() if bare_name(name) == wanted
    }


def numbers_held(public: str, held: Mapping[str, str]) -> dict[int, str]:
    """The version numbers among the tags that a server holds, with their digests."""
    stem = re.escape(full_name(version_stem(public)).lower())
    found = {}
    for name, digest in held.items():
        match = re.fullmatch(stem + r"(\d{1,6})", name)
        if match and not match[1].startswith("0"):
            found[int(match[1])] = digest
    return found


def timeline(acts: Sequence[Act], live: str) -> list[str]:
    """The digests that were live, one after the other.

    An act that was killed before its end was written down counts where what followed shows that it took effect.
    """
    row: list[str] = []
    moves = [act for act in acts if act.kind != "prune"]
    for place, act in enumerate(moves):
        if act.kind == "adopt" and act.before not in ("", act.digest):  # it was live before what was live then
            row.insert(max(0, len(row) - 1), act.digest)
            continue
        after = moves[place + 1].before if place + 1 < len(moves) else live
        if act.before and (not row or row[-1] != act.before) and act.kind != "adopt":
            row.append(act.before)
        if (act.done or after == act.digest) and (not row or row[-1] != act.digest):
            row.append(act.digest)
    return row


def refuse_version_name(public: str) -> None:
    """Raise UsageError where that name is a version of another release: it would no longer be what was released."""
    head, _, tag = full_name(public).lower().rpartition(":")
    match = re.fullmatch(r"(?:(.+)-)?v(\d{1,6})", tag)
    if match is None:
        return
    parent = f"{head}:{match[1]}" if match[1] else head
    if any(act.version == int(match[2]) for journal in journals_of(parent) for act in journal.acts()):
        raise UsageError(
            f"{public} is a version of {parent}, which stays what it was",
            hint=f"--name {parent} releases the next version; or take another tag, or another name",
        )


def _versions(public: str, acts: Sequence[Act], held: Mapping[str, str], live: str, before: str) -> tuple[Version, ...]:
    numbers: dict[int, list[Act]] = {}
    for act in acts:
        numbers.setdefault(act.version, []).append(act)
    versions = []
    for number, own in sorted(numbers.items()):
        moves = [act for act in own if act.kind != "prune"]
        if not moves:
            continue
        digest = moves[-1].digest
        there = held.get(full_name(version_name(public, number)).lower(), "")
        state: State = "held" if there == digest else "changed" if there else "gone"
        if not there and own[-1].kind == "prune":
            state = "pruned"
        if digest == live:
            state = "live"
        elif digest == before and there == digest:
            state = "before"
        versions.append(Version(number, digest, moves[0], moves[-1], there, state))
    return tuple(versions)


def _drift(
    public: str,
    acts: Sequence[Act],
    versions: Sequence[Version],
    held: Mapping[str, str],
    live: str,
    row: Sequence[str],
    taken: Collection[int],
) -> list[str]:
    shown = public.removesuffix(":latest")
    if not acts:
        return [] if not live else [f"{shown} is live, and this machine keeps no history of it"]
    said = []
    if not live:
        said.append(f"{shown} is not on the server; v{_number(versions, row)} was live last")
    elif not any(version.digest == live for version in versions):
        said.append(f"{shown} is a model that no version is ({live[:12]}): someone else made it live")
    elif row and row[-1] != live:
        said.append(f"{shown} is v{_number(versions, [live])}, and v{_number(versions, row)} was made live last")
    for version in versions:
        name = version_name(public, version.number)
        if version.held and version.held != version.digest:
            said.append(f"{name} is another model than was released ({version.held[:12]}, was {version.digest[:12]})")
        elif not version.held and version.state != "pruned":
            said.append(f"{name} is gone from the server")
    strange = numbers_held(public, held).keys() - {version.number for version in versions} - set(taken)
    said += [f"{version_name(public, number)} is on the server, and not in this history" for number in sorted(strange)]
    return said


def _number(versions: Sequence[Version], row: Sequence[str]) -> str:
    return next((str(version.number) for version in versions if row and version.digest == row[-1]), "?")
