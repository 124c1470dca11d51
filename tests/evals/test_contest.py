"""Several models in one comparison: each asked once, each against the baseline, one verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggship.errors import ServerError, ServerUnreachable, UsageError
from ggship.evals.contest import Contender, Entered, hold_contest
from ggship.evals.contest_codec import contest_document, contest_schema
from ggship.evals.contest_view import LONGEST_NAME, contest_rows, folder_names, short_names, tables
from ggship.evals.instruments import Instruments, Verdict
from ggship.evals.once import Once
from ggship.runtimes.model import ChatOptions, Message
from ggship.settings import templates_dir

RIGHT = {"France?": "Paris", "Japan?": "Tokyo", "Egypt?": "Cairo", "Peru?": "Lima"}


@pytest.fixture
def contend(ticking: Any) -> Any:
    def contend(suite: Any, *models: Any, **more: Any) -> Any:
        first, *others = [Contender(model.label, _opening(model)) for model in models]
        return hold_contest(suite, first, others, clock=ticking(), **more)

    return contend


def _opening(model: Any) -> Any:
    @contextmanager
    def opening(beside: Any) -> Iterator[Any]:
        model.opened = getattr(model, "opened", 0) + 1
        yield Entered(model)
        model.opened -= 1

    return opening


def knows(*countries: str) -> dict[str, str]:
    return {f"{country}?": RIGHT[f"{country}?"] for country in countries}


def test_every_model_is_asked_once_and_alone(contend: Any, scripted: Any, capitals: Any) -> None:
    order: list[str] = []
    models = [scripted(RIGHT, label=name) for name in "abc"]
    for model in models:
        ask = model.chat
        model.chat = lambda *said, name=model.label, ask=ask: (order.append(name), ask(*said))[1]
    contend(capitals, *models)
    asked = {model.label: [text for text in model.asked if text != "Hi"] for model in models}
    assert asked == {name: list(RIGHT) for name in "abc"}
    assert "".join(dict.fromkeys(order)) == "abc"
    assert order == sorted(order)


def test_each_is_held_against_the_first(contend: Any, scripted: Any, capitals: Any) -> None:
    base = scripted(knows("France", "Japan"), label="base")
    better = scripted(RIGHT, label="better")
    worse = scripted(knows("Japan"), label="worse")
    contest = contend(replace(capitals, gates=()), base, better, worse).contest
    assert [model.name for model in contest.models] == ["base", "better", "worse"]
    assert contest.models[0].comparison is None
    up, down = (model.comparison for model in contest.models[1:])
    assert (up.wins, up.losses, up.regressions, up.delta_pass_rate) == (("egypt", "peru"), (), (), 0.5)
    assert (down.wins, down.losses, down.regressions, down.delta_pass_rate) == ((), ("france",), ("france",), -0.25)
    assert up.delta_interval[0] < 0.5 < up.delta_interval[1]
    france = contest.cases[0].results
    assert {name: result.outcome for name, result in france.items()} == {
        "base": "pass",
        "better": "pass",
        "worse": "fail",
    }


def test_with_several_models_chance_is_corrected_for(contend: Any, scripted: Any, suite: Any) -> None:
    tests = "".join(f"  - {{prompt: q{n}, assert: [{{type: contains, value: a}}]}}\n" for n in range(12))
    questions = suite(f"version: 1\ngates: [pass_rate >= 0]\ntests:\n{tests}")
    base = scripted({f"q{n}": "no" for n in range(6)}, otherwise="a", label="base")
    good, same = scripted(otherwise="a", label="good"), scripted(otherwise="a", label="same")
    contest = contend(questions, base, good, same).contest
    assert [model.comparison.mcnemar_p for model in contest.models[1:]] == [0.03125, 0.03125]
    assert [model.holm_p for model in contest.models[1:]] == [0.0625, 0.0625]
    assert "p = 0.06 after Holm" in contest.warnings[0]
    assert contend(questions, base, good).contest.models[1].holm_p == 0.03125


def test_one_that_fails_fails_all_and_says_which(contend: Any, scripted: Any, capitals: Any) -> None:
    contest = contend(capitals, scripted(label="a"), scripted(RIGHT, label="b"), scripted(label="c")).contest
    assert [model.verdict and model.verdict.passed for model in contest.models] == [None, True, False]
    assert not contest.passed
    assert contest.verdict.reasons == ("c: gate pass_rate >= 1: observed 0",)


def test_an_error_of_the_baseline_is_an_error_in_every_comparison(contend: Any, scripted: Any, capitals: Any) -> None:
    base = scripted({**RIGHT, "Peru?": ServerError("it broke", status=500)}, label="base")
    contest = contend(replace(capitals, gates=()), base, *(scripted(RIGHT, label=name) for name in "bc")).contest
    assert base.asked.count("Peru?") == 1
    for model in contest.models[1:]:
        assert model.comparison.pairs == 3
        assert not model.verdict.passed
        assert model.verdict.reasons == ("1 case ended in an error, so nothing is proven",)
    assert contest.cases[3].results["base"].outcome == "error"


def test_a_baseline_that_is_gone_is_not_asked_again(contend: Any, scripted: Any, capitals: Any) -> None:
    base = scripted({"Japan?": ServerUnreachable("gone")}, label="base")
    contend(capitals, base, scripted(RIGHT, label="b"), scripted(RIGHT, label="c"))
    assert [text for text in base.asked if text != "Hi"] == ["France?", "Japan?"]


def test_the_baseline_is_let_go_after_the_first_comparison(contend: Any, scripted: Any, capitals: Any) -> None:
    base, held = scripted(RIGHT, label="a"), []
    others = [scripted(RIGHT, label=name) for name in "bc"]
    contend(capitals, base, *others, on_model=lambda name: held.append((name, base.opened)))
    assert held == [("a and b", 1), ("c", 0)]
    assert all(model.opened == 0 for model in (base, *others))


def test_a_judge_says_the_same_of_the_baseline_in_every_comparison(contend: Any, scripted: Any, suite: Any) -> None:
    class Moody:
        calls = 0

        def verdict(self, messages: Any, answer: str, rubric: str) -> Verdict:
            self.calls += 1
            return Verdict(self.calls % 2 == 1, 0.5, "as I like")

    moody = Moody()
    questions = suite("version: 1\ntests: [{prompt: q, assert: [{type: llm-rubric, value: is kind}]}]")
    models = [scripted(otherwise=f"I am {name}", label=name) for name in "abc"]
    held = contend(questions, *models, equip=lambda: (Instruments(judge=moody), ()))
    assert moody.calls == 3
    assert len({report.base.pass_rate for report in held.reports.values()}) == 1


def test_the_same_model_twice_and_one_alone_are_refused(contend: Any, scripted: Any, capitals: Any) -> None:
    with pytest.raises(UsageError, match="named twice"):
        contend(capitals, scripted(label="a"), scripted(label="b"), scripted(label="a"))
    with pytest.raises(UsageError, match="no comparison"):
        contend(capitals, scripted(label="a"))


def test_the_document_is_what_the_schema_says(contend: Any, scripted: Any, capitals: Any) -> None:
    contest = contend(capitals, scripted(label="a"), scripted(RIGHT, label="b")).contest
    jsonschema.validate(contest_document(contest), contest_schema())
    kept = json.loads((templates_dir() / "schemas" / "compare.schema.json").read_text())
    assert kept == contest_schema(), "python -m ggship.evals.contest_codec > templates/schemas/compare.schema.json"


@given(st.lists(st.text(min_size=1, max_size=60), min_size=2, max_size=8, unique=True))
def test_names_stay_apart_in_tables_and_folders(names: list[str]) -> None:
    shown = short_names(names)
    folders = folder_names(names)
    assert list(shown) == list(folders) == names
    assert len({*shown.values()}) == len(names)
    assert len({folder.casefold() for folder in folders.values()}) == len(names)
    assert all("/" not in folder and folder not in (".", "..") for folder in folders.values())


def test_tables_fit_eighty_columns_whatever_the_names(contend: Any, scripted: Any, capitals: Any) -> None:
    names = [f"https://gateway.example.org:3000/v1#company/{'law-helper' * 4}-{n}" for n in range(11)]
    contest = contend(capitals, *(scripted(RIGHT, label=name) for name in names)).contest
    made = tables(contest)
    assert len(made) == 3
    for table in made:
        assert len({len(row) for row in table}) == 1
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        assert sum(widths) + 2 * (len(widths) - 1) <= 80
        assert widths[0] <= LONGEST_NAME + 3
    said = "\n".join(value for _, value in contest_rows(contest))
    assert all(name in said for name in names)


def test_a_baseline_that_was_let_go_is_never_asked_anything_new(scripted: Any) -> None:
    model = scripted(RIGHT, label="a")
    once, options = Once(model), ChatOptions()
    said = once.chat([Message(role="user", content="France?")], options)
    known = once.digest()
    once.shut()
    assert once.chat([Message(role="user", content="France?")], options) == said
    with pytest.raises(ServerError, match="a was not asked that"):
        once.chat([Message(role="user", content="Japan?")], options)
    assert (model.asked, once.digest()) == (["France?"], known)
