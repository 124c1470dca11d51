"""What people said is on the disk at once, and a crash or a neighbour costs nothing."""

from __future__ import annotations

import multiprocessing
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ggship.errors import UsageError
from ggship.evals.humans import Judgement
from ggship.evals.review.store import Reviews, check_reviewer, reviews_dir

ONE = Judgement("anna", "c1", "q", "t", "b", "tuned", "accept", "reject", comment="fine", at="2026-01-02T00:00:00")


def test_what_was_said_is_read_again(reviews: Reviews) -> None:
    two = replace(ONE, case="c2", question="q2", tuned_mark="edit", tuned_edit="一\n\u2028\ud800", prefer="tie")
    reviews.add(ONE)
    reviews.add(two)
    reviews.add(replace(ONE, reviewer="ben", tuned_mark="reject"))
    assert reviews.read("anna").said == (ONE, two)
    assert len(reviews.judgements()) == 3
    assert reviews.damaged() == 0


def test_the_last_word_can_be_taken_back_until_it_is_final(reviews: Reviews) -> None:
    reviews.add(ONE)
    reviews.add(replace(ONE, tuned_mark="reject"))
    reviews.take_back("anna", "")
    assert reviews.read("anna").said == (ONE,)
    reviews.reveal("anna", "")
    reviews.take_back("anna", "")
    journal = reviews.read("anna")
    assert (journal.said, journal.locked, journal.final) == ((ONE,), 1, {ONE.key})


def test_a_torn_line_costs_itself_and_nothing_else(reviews: Reviews) -> None:
    reviews.add(ONE)
    (path,) = reviews.folder.glob("*.jsonl")
    whole = path.read_bytes()
    two = replace(ONE, question="q2")
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole[:cut].rstrip(b"\n"))
        reviews.add(two)
        journal = reviews.read("anna")
        assert journal.said[0] == ONE
        assert journal.said[-1] == two
        assert journal.damaged + len(journal.said) == 3


@pytest.mark.parametrize(
    "line", ["[]", "1", '{"event": "judged"}', '{"event": "x"}', "\udcff", '{"event": "judged", "prefer": 1}']
)
def test_lines_that_are_none_are_counted(reviews: Reviews, line: str) -> None:
    reviews.add(ONE)
    (path,) = reviews.folder.glob("*.jsonl")
    with path.open("ab") as file:
        file.write(line.encode("utf-8", "surrogateescape") + b"\n")
    reviews.add(replace(ONE, question="q2"))
    assert (len(reviews.judgements()), reviews.damaged()) == (2, 1)


def _say(folder: Path, who: str, count: int) -> None:
    for number in range(count):
        Reviews("law", folder).add(replace(ONE, reviewer=who, question=f"{who}{number}", comment="x" * 5000))


def test_several_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    at_work = [context.Process(target=_say, args=(tmp_path, who, 25)) for who in ("anna", "anna", "ben")]
    for process in at_work:
        process.start()
    for process in at_work:
        process.join()
    reviews = Reviews("law", tmp_path)
    assert reviews.damaged() == 0
    assert [len(reviews.read(who).said) for who in ("anna", "ben")] == [50, 25]


def test_one_name_in_any_writing_is_one_reviewer_and_one_model(tmp_path: Path) -> None:
    Reviews("Law:latest", tmp_path).add(ONE)
    Reviews("law", tmp_path).add(replace(ONE, reviewer="Anna", question="q2"))
    assert len(Reviews("law", tmp_path).read("ANNA").said) == 2
    assert Reviews("law:v2", tmp_path).judgements() == ()


@pytest.mark.parametrize("subject", ["../../etc", "http://127.0.0.1:11434/v1#a/b", ".", "..", "名" * 200, "a\x00b"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, subject: str) -> None:
    reviews = Reviews(subject, tmp_path)
    reviews.add(replace(ONE, reviewer="../x"))
    assert reviews.folder.parent == tmp_path
    assert [path.parent for path in tmp_path.rglob("*.jsonl")] == [reviews.folder]


def test_others_on_this_machine_cannot_read_it(reviews: Reviews) -> None:
    reviews.add(ONE)
    secret = reviews.secret()
    assert secret == Reviews("law", reviews.folder.parent).secret()
    assert len(secret) == 32
    if os.name == "posix":
        assert stat.S_IMODE(reviews.folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in reviews.folder.glob("[!l]*")} == {0o600}


def test_the_folder_can_be_another(monkeypatch: Any, tmp_path: Path, own_state: Path) -> None:
    assert reviews_dir() == own_state / "reviews"
    monkeypatch.setenv("GGSHIP_REVIEWS_DIR", str(tmp_path / "shared"))
    assert reviews_dir() == tmp_path / "shared"


def test_the_digest_follows_what_holds(reviews: Reviews) -> None:
    empty = reviews.digest()
    reviews.add(ONE)
    assert reviews.digest() != empty
    reviews.take_back("anna", "")
    assert reviews.digest() == empty


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\x1bb", "\u202eanna"])
def test_a_reviewer_has_a_name(name: str) -> None:
    with pytest.raises(UsageError):
        check_reviewer(name)


def test_a_name_is_kept_in_one_form() -> None:
    assert check_reviewer("  Zoe\u0308   Li ") == "Zoë Li"
