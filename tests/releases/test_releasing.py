"""Versions: what gets which number, what can be taken back, and what never goes away."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from ggship.errors import GateFailed, Refused, UnknownName, UsageError
from ggship.releases.history import refuse_version_name
from ggship.releases.journal import journals_of
from ggship.releases.promotion import version_name
from ggship.releases.releasing import journal_of, need_proven, prune, put_live

from .conftest import Killed


def states(shelf: Any, name: str = "law") -> dict[int, str]:
    return {version.number: version.state for version in shelf.history(name).versions}


def test_each_model_gets_the_next_number_and_keeps_it(shelf: Any) -> None:
    assert [shelf.release(letter).version for letter in "abca"] == [1, 2, 3, 1]
    assert shelf.digest("law") == shelf.digest("law:v1") == shelf.of("a")
    assert shelf.digest("law:v2") == shelf.of("b")
    assert shelf.digest("law:v3") == shelf.digest("law:previous") == shelf.of("c")
    assert states(shelf) == {1: "live", 2: "held", 3: "before"}
    assert shelf.release("a").changed is False
    assert shelf.history().drift == ()


def test_a_rollback_can_be_rolled_back_and_any_version_be_named(shelf: Any) -> None:
    for letter in "abc":
        shelf.release(letter)
    assert (shelf.put(kind="rollback").version, shelf.digest("law")) == (2, shelf.of("b"))
    assert (shelf.put(kind="rollback").version, shelf.digest("law")) == (3, shelf.of("c"))
    back = shelf.put(1, "rollback")
    assert (back.version, back.before, shelf.digest("law")) == (1, 3, shelf.of("a"))
    assert shelf.put(1, "rollback").changed is False
    assert (shelf.put(kind="rollback").version, shelf.digest("law")) == (3, shelf.of("c"))
    shelf.put(1)
    assert (shelf.put().version, shelf.digest("law")) == (3, shelf.of("c"))  # promote: the newest
    kinds = [(act.kind, act.version) for act in shelf.history().acts]
    assert kinds[3:6] == [("rollback", 2), ("rollback", 3), ("rollback", 1)]
    assert all(act.done and act.who and act.at for act in shelf.history().acts)


def test_tags_of_one_model_do_not_share_versions(shelf: Any) -> None:
    shelf.release("a")
    shelf.release("b", "law:prod")
    shelf.release("c", "law:prod")
    assert shelf.digest("law:v1") == shelf.of("a")
    assert shelf.digest("law:prod-v2") == shelf.digest("law:prod") == shelf.of("c")
    put_live(shelf.runtime, "law:prod", kind="rollback")
    assert (shelf.digest("law:prod"), shelf.digest("law")) == (shelf.of("b"), shelf.of("a"))
    assert version_name("law:" + "x" * 80, 123456).count("x") == 72  # fits into what Ollama takes


def test_a_release_from_before_there_was_a_history_can_be_rolled_back(shelf: Any) -> None:
    shelf.hold("law", "new")
    shelf.hold("law:previous", "old")
    assert shelf.history().drift == ("law is live, and this machine keeps no history of it",)
    assert (shelf.put(kind="rollback").version, shelf.digest("law")) == (1, shelf.of("old"))
    assert shelf.digest("law:v2") == shelf.of("new")
    assert shelf.put(kind="rollback").version == 2


def test_what_previous_has_is_what_was_before_where_nothing_else_is_known(shelf: Any) -> None:
    shelf.hold("law", "new")
    with pytest.raises(UnknownName, match="nothing was live as law before"):
        shelf.put(kind="rollback")
    shelf.hold("law:previous", "old")
    assert shelf.put(kind="rollback").version == 2
    assert shelf.digest("law") == shelf.digest("law:v2") == shelf.of("old")
    assert shelf.history().drift == ()
    assert shelf.put(kind="rollback").version == 1


def test_what_someone_else_made_live_is_kept_by_the_next_release(shelf: Any) -> None:
    shelf.release("a")
    shelf.hold("law", "theirs")
    assert "that no version is" in shelf.history().drift[0]
    assert shelf.release("b").version == 3
    assert (shelf.digest("law:v2"), shelf.digest("law")) == (shelf.of("theirs"), shelf.of("b"))
    assert shelf.put(kind="rollback").version == 2
    assert shelf.digest("law") == shelf.of("theirs")


def test_a_version_that_was_made_live_by_hand_is_said_to_be(shelf: Any) -> None:
    shelf.release("a")
    shelf.release("b")
    shelf.runtime.copy("law:v1", "law")
    assert shelf.history().drift == ("law is v1, and v2 was made live last",)
    assert shelf.put(kind="rollback").version == 2


def test_a_version_that_is_gone_is_refused_unless_another_name_has_it(shelf: Any) -> None:
    for letter in "abc":
        shelf.release(letter)
    for gone in ("law:v1", "law:v2"):
        shelf.runtime.delete(gone)
    assert set(shelf.history().drift) == {"law:v1 is gone from the server", "law:v2 is gone from the server"}
    with pytest.raises(Refused, match="law:v1 is gone from the server") as caught:
        shelf.put(1, "rollback")
    assert "v3" in caught.value.hint
    assert "/dist/law" in caught.value.hint
    assert shelf.digest("law") == shelf.of("c")
    # law:previous still has the second.
    assert shelf.put(kind="rollback").version == 2
    assert (shelf.digest("law"), shelf.digest("law:previous")) == (shelf.of("b"), shelf.of("c"))
    assert "law:ggship-staging" not in shelf.models


def test_a_version_that_was_changed_is_refused_and_left_alone(shelf: Any) -> None:
    for letter in "abc":
        shelf.release(letter)
    shelf.hold("law:v1", "theirs")
    assert shelf.history().drift[0].startswith("law:v1 is another model than was released")
    with pytest.raises(Refused, match="no longer the model that was released"):
        shelf.put(1)
    assert shelf.release("a").version == 1  # the same model is the same version
    assert shelf.digest("law:v1") == shelf.of("theirs")  # and theirs is not thrown away for it


@pytest.mark.parametrize(("number", "words"), [(9, "no version v9"), (None, "nothing was live as law")])
def test_what_never_was_is_said(shelf: Any, number: int | None, words: str) -> None:
    with pytest.raises(UnknownName, match="nothing was released"):
        shelf.put(number, "rollback")
    shelf.release("a")
    with pytest.raises(UnknownName, match=words):
        shelf.put(number, "rollback")


def test_pruning_keeps_the_newest_what_is_live_and_what_was_before(shelf: Any) -> None:
    for letter in "abcdef":
        shelf.release(letter)
    shelf.put(2)  # live: 2, before: 6
    shelf.put(1)  # live: 1, before: 2
    assert prune(shelf.runtime, "law", 1, dry_run=True).removed == (3, 4, 5)
    assert len(states(shelf)) == 6
    done = prune(shelf.runtime, "law", 1)
    assert (done.removed, [number for number, _ in done.left]) == ((3, 4, 5), [1, 2])
    assert states(shelf) == {1: "live", 2: "before", 3: "pruned", 4: "pruned", 5: "pruned", 6: "held"}
    assert prune(shelf.runtime, "law", 1).removed == ()
    assert shelf.history().drift == ()
    with pytest.raises(Refused, match="it was pruned"):
        shelf.put(4)
    assert shelf.release("g").version == 7
    assert shelf.release("d").version == 4  # released again: its own number, and its name again
    assert shelf.digest("law:v4") == shelf.of("d")


def test_pruning_leaves_alone_what_is_not_what_was_released(shelf: Any) -> None:
    for letter in "abcd":
        shelf.release(letter)
    shelf.hold("law:v1", "theirs")
    shelf.hold("law:v9", "theirs too")
    done = prune(shelf.runtime, "law", 1)
    assert (done.removed, done.left[0]) == ((2,), (1, "its name has another model than was released"))
    assert shelf.digest("law:v1") == shelf.of("theirs")
    assert shelf.digest("law:v9") == shelf.of("theirs too")
    assert "law:v9 is on the server, and not in this history" in shelf.history().drift


def test_a_lost_history_does_not_give_a_number_twice(shelf: Any) -> None:
    for letter in "abc":
        shelf.release(letter)
    journal_of(shelf.runtime, "law").path.unlink()
    assert shelf.release("d").version == 4
    assert shelf.digest("law:v3") == shelf.of("c")
    assert shelf.release("b").version == 2  # the server remembers whose number that was


def test_a_torn_line_costs_that_line_and_no_other(shelf: Any) -> None:
    shelf.release("a")
    path: Path = journal_of(shelf.runtime, "law").path
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40])  # the disk was full, the power went
    assert states(shelf) == {1: "live"}
    assert shelf.release("b").version == 2
    assert shelf.history().torn == 1
    assert path.read_bytes().startswith(whole)  # nothing is ever rewritten
    path.write_bytes(path.read_bytes() + b'\xff\xfe\x00\n[]\n{"id": 3}\n{"kind":"promote","version":"x"}\n')
    assert states(shelf) == {1: "before", 2: "live"}


def test_servers_have_histories_of_their_own(shelf: Any) -> None:
    shelf.release("a")
    here = journal_of(shelf.runtime, "law").server
    assert [journal.server for journal in journals_of("Law")] == [here]
    assert here.startswith("http://localhost:")
    assert journals_of("law:prod") == ()


def test_the_name_of_a_version_is_no_public_name(shelf: Any) -> None:
    shelf.release("a")
    shelf.release("b", "law:prod")
    for name, parent in (("law:v1", "law"), ("LAW:V1", "law"), ("law:prod-v1", "law:prod")):
        with pytest.raises(UsageError, match="is a version of") as caught:
            refuse_version_name(name)
        assert f"--name {parent} " in caught.value.hint
    for name in ("law", "law:v2", "law:prod", "other:v1", "law:v1x"):
        refuse_version_name(name)


def test_who_numbered_by_hand_keeps_those_names(shelf: Any) -> None:
    shelf.release("a", "law:v1")  # a public name of its own, with versions of its own
    assert shelf.digest("law:v1-v1") == shelf.of("a")
    assert shelf.release("a").version == 2  # the same model, and yet law:v1 is not ours
    assert shelf.history().drift == ()
    shelf.release("b", "law:v1")
    assert shelf.digest("law:v2") == shelf.digest("law") == shelf.of("a")
    refuse_version_name("law:v1")


def test_what_did_not_pass_is_promoted_by_force_alone(shelf: Any) -> None:
    shelf.release("a", passed=False)
    shelf.release("b")
    with pytest.raises(GateFailed, match="v1 of law did not pass"):
        need_proven(shelf.history(), 1)
    assert need_proven(shelf.history(), 1, force=True)
    assert need_proven(shelf.history(), None) == ()


def walk(shelf: Any) -> None:
    """Whatever changes anything: a release over a model of nobody's, two more, back, further back, forth, pruned."""
    shelf.hold("law", "first")
    for letter in "abc":
        shelf.release(letter)
    shelf.put(kind="rollback")
    shelf.put(1, "rollback")
    shelf.models.pop("law:v3")
    shelf.put(3)  # which law:previous alone has now
    prune(shelf.runtime, "law", 1)


def test_killed_at_any_request_the_public_name_is_never_without_a_model(shelf: Any, own_state: Path) -> None:
    """At every request of every act, before it and after it; then the same again, and all is as it should be."""
    known = {shelf.of(letter) for letter in ("first", "a", "b", "c")}
    walk(shelf)
    total = shelf.requests
    assert total >= 40
    for at, answered in itertools.product(range(1, total + 1), (False, True)):
        shutil.rmtree(own_state / "releases")
        shelf.models.clear()
        shelf.requests, shelf.die, shelf.answered = 0, at, answered
        with pytest.raises(Killed):
            walk(shelf)
        live = shelf.digest("law")
        assert live in known
        versions = [version.digest for version in shelf.history().versions]
        # What is live has a version, but for the one of nobody's before it was taken in.
        assert live in versions or (live == shelf.of("first") and not versions)
        shelf.models.pop("law:ggship-staging", None)
        done = shelf.release("d")
        assert shelf.digest("law") == shelf.digest(f"law:v{done.version}") == shelf.of("d")
        assert shelf.put(kind="rollback").promotion.digest == live
        assert shelf.digest("law") == live
        versions = [version.digest for version in shelf.history().versions]
        assert len(set(versions)) == len(versions)


def test_an_act_that_was_killed_at_its_very_end_counts(shelf: Any) -> None:
    shelf.release("a")
    before = shelf.requests
    shelf.release("b")
    took = shelf.requests - before
    shelf.die, shelf.answered = shelf.requests + took, True  # at the last request, before the end is written down
    with pytest.raises(Killed):
        shelf.release("c")
    shelf.models.pop("law:ggship-staging")
    assert [act.done for act in shelf.history().acts] == [True, True, False]
    assert states(shelf) == {1: "held", 2: "before", 3: "live"}
    assert shelf.history().drift == ()


def test_the_journal_is_written_before_anything_is_changed(shelf: Any, own_state: Path) -> None:
    shelf.release("a")
    folder = own_state / "releases"
    path = next(folder.iterdir())
    path.rename(folder / "away")
    path.mkdir()  # nothing can be written there
    with pytest.raises(OSError, match="directory"):
        shelf.release("b")
    assert shelf.digest("law") == shelf.of("a")
    assert set(shelf.models) - {"law:ggship-staging"} == {"law:latest", "law:v1"}
