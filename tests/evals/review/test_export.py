"""What people said as data for training: only pairs that they really gave."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from ggship.evals.humans import Judgement, items_of
from ggship.evals.review.export import dataset_info, pairs_of, render
from ggship.evals.review.store import Reviews


def said(report: Any, **fields: Any) -> tuple[Any, Judgement]:
    (item,) = items_of(report.cases)
    whose = {"reviewer": fields.pop("reviewer", "anna"), "case": item.id}
    return item, Judgement(**whose, question=item.question, tuned=item.tuned_digest, base=item.base_digest, **fields)


def pairs(report: Any, *each: dict[str, Any]) -> list[tuple[str, str]]:
    given = [said(report, **{"reviewer": f"r{n}", **fields}) for n, fields in enumerate(each)]
    return [(pair.chosen, pair.rejected) for pair in pairs_of([given[0][0]], [one for _, one in given])]


GOOD, POOR = "good q0", "poor q0"


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        ([{"prefer": "tuned"}], [(GOOD, POOR)]),
        ([{"prefer": "base"}], [(POOR, GOOD)]),
        ([{"prefer": "tie", "tuned_mark": "accept"}], []),
        ([{"prefer": "tuned"}, {"prefer": "base"}], []),
        ([{"prefer": "tuned"}, {"prefer": "tuned"}, {"prefer": "base"}], [(GOOD, POOR)]),
        ([{"prefer": "tuned", "tuned_mark": "reject"}], []),
        ([{"prefer": "tuned", "tuned_mark": "reject"}, {"prefer": "tuned", "tuned_mark": "accept"}], []),
        (
            [{"prefer": "tuned", "tuned_mark": "edit", "tuned_edit": "best"}],
            [("best", GOOD), ("best", POOR)],
        ),
        (
            [
                {"prefer": "tuned", "tuned_mark": "edit", "tuned_edit": "best"},
                {"prefer": "tuned", "tuned_mark": "accept"},
            ],
            [("best", GOOD), (GOOD, POOR)],
        ),
        ([{"base_mark": "edit", "base_edit": "mended", "prefer": "tuned"}], [("mended", POOR), (GOOD, POOR)]),
        ([{"tuned_mark": "edit", "tuned_edit": POOR, "prefer": "tuned"}], [(POOR, GOOD)]),
    ],
)
def test_pairs_are_what_people_prefer(answers: Any, each: Any, expected: Any) -> None:
    assert pairs(answers(1), *each) == expected


def test_a_lone_answer_gives_its_edit(answers: Any) -> None:
    assert pairs(answers(1, base=False), {"tuned_mark": "edit", "tuned_edit": "best"}) == [("best", GOOD)]


def test_judgements_of_other_answers_give_nothing(answers: Any) -> None:
    _, old = said(answers(1), prefer="tuned", tuned_edit="best", tuned_mark="edit")
    (new,) = items_of(answers(1, retrained=1).cases)
    assert pairs_of([new], [old]) == ()


def test_dpo_is_json_lines_of_messages(answers: Any, sit: Any, judge_all: Any, reviews: Reviews) -> None:
    report = answers(3)
    judge_all(sit(report))
    made = render("dpo", items_of(report.cases), reviews.judgements())
    rows = [json.loads(line) for line in made.text.splitlines()]
    assert made.count == len(rows) == 3
    assert rows[0] == {
        "prompt": [{"role": "user", "content": "q0"}],
        "chosen": [{"role": "assistant", "content": "good q0"}],
        "rejected": [{"role": "assistant", "content": "poor q0"}],
    }


CONVERSATION = """
version: 1
tests:
  - messages:
      - {role: system, content: Be brief.}
      - {role: user, content: 一}
      - {role: assistant, content: 二}
      - {role: user, content: 三}
"""


def test_llama_factory_reads_conversations_and_system_prompts(
    run: Any, scripted: Any, suite: Any, tmp_path: Path
) -> None:
    report = run(suite(CONVERSATION), scripted({"三": "好"}), scripted({"三": "坏"}))
    (item, one) = said(report, prefer="tuned")
    made = render("llama-factory", [item], [one])
    (row,) = json.loads(made.text)
    # What LLaMA-Factory's SharegptDatasetConverter asks of a row with `ranking`: turns that alternate and end with a
    # human's, and one answer of the assistant each.
    assert [turn["from"] for turn in row["conversations"]] == ["human", "gpt", "human"]
    assert row["chosen"] == {"from": "gpt", "value": "好"}
    assert row["rejected"] == {"from": "gpt", "value": "坏"}
    assert row["system"] == "Be brief."
    (entry,) = dataset_info(tmp_path / "pairs.json").values()
    assert entry["ranking"] is True
    assert set(entry["columns"].values()) == set(row)


def test_turns_that_llama_factory_would_skip_are_left_out_and_counted(run: Any, scripted: Any, suite: Any) -> None:
    twice = CONVERSATION.replace("{role: assistant, content: 二}", "{role: user, content: 二}")
    report = run(suite(twice), scripted({"三": "好"}), scripted({"三": "坏"}))
    item, one = said(report, prefer="tuned")
    made = render("llama-factory", [item], [one])
    assert (json.loads(made.text), made.count, made.left_out) == ([], 0, 1)
    assert render("dpo", [item], [one]).count == 1


def test_a_table_has_everything_and_no_formula(run: Any, scripted: Any, suite: Any) -> None:
    report = run(suite("{version: 1, tests: [{prompt: q}]}"), scripted(otherwise="=1+1"), scripted(otherwise="@x"))
    item, one = said(report, prefer="tie", tuned_mark="accept", base_mark="reject", comment='+ nice, "really"\nyes')
    made = render("csv", [item], [one])
    (row,) = csv.DictReader(io.StringIO(made.text))
    assert made.count == 1
    assert (row["tuned"], row["base"], row["comment"]) == ("'=1+1", "'@x", '\'+ nice, "really"\nyes')
    assert (row["reviewer"], row["preferred"], row["tuned_mark"], row["base_mark"]) == (
        "anna",
        "tie",
        "accept",
        "reject",
    )
