"""Conversations that the model under test answers turn by turn."""

from __future__ import annotations

from typing import Any

import pytest

from ggship.errors import ServerError, UsageError
from ggship.evals import load_suite, parse_suite, to_json
from ggship.evals.codec import from_json
from ggship.evals.dump import render_suite
from ggship.evals.html import render_html
from ggship.evals.kept import Kept
from ggship.evals.turns import conversation
from ggship.runtimes.model import Answer

SUITE = """
version: 1
tests:
  - id: deposit
    messages:
      - {role: system, content: You are a law helper.}
      - {role: user, content: My landlord keeps my deposit.}
      - {role: assistant, by: model}
      - {role: user, content: Which paragraph says so?}
      - {role: assistant, by: model}
      - {role: user, content: And in short?}
    assert: [{type: contains, value: third}]
"""


class Remembering:
    """Says which answer this is, and remembers all that it was sent."""

    label = model = "remembering"

    def __init__(self, fails_at: int = 0) -> None:
        self.sent: list[list[dict[str, Any]]] = []
        self._fails_at = fails_at

    def chat(self, messages: Any, options: Any) -> Answer:
        if messages[-1]["content"] != "Hi":
            self.sent.append([dict(turn) for turn in messages])
        answers = sum(turn["role"] == "assistant" for turn in messages)
        if answers + 1 == self._fails_at:
            raise ServerError("no", status=500)
        return Answer(("first", "second", "third")[answers], "stop", 0.5, tokens=1)

    def render(self, messages: Any) -> str | None:
        raise AssertionError("a turn that nobody has said yet cannot be rendered")

    def digest(self) -> str | None:
        return "d"

    def setting(self) -> dict[str, str]:
        return {}


def test_the_model_answers_its_own_turns_one_after_the_other(run: Any) -> None:
    model = Remembering()
    report = run(parse_suite(SUITE), model)
    assert report.passed, report.verdict.reasons
    assert [[turn["content"] for turn in sent if turn["role"] != "system"] for sent in model.sent] == [
        ["My landlord keeps my deposit."],
        ["My landlord keeps my deposit.", "first", "Which paragraph says so?"],
        ["My landlord keeps my deposit.", "first", "Which paragraph says so?", "second", "And in short?"],
    ]
    assert not any("by" in turn for sent in model.sent for turn in sent), "no server knows that key"
    result = report.cases[0].tuned
    assert (result.text, result.turns) == ("third", ("first", "second"))
    assert from_json(to_json(report)) == report
    assert list(conversation(report.cases[0]))[2] == ("assistant (the tuned model)", "first")
    assert "assistant (the tuned model)" in render_html(report)


def test_one_that_fails_in_the_middle_is_an_error_and_goes_on_there(run: Any) -> None:
    report = run(parse_suite(SUITE), Remembering(fails_at=2), kept=Kept())
    assert (report.cases[0].tuned.outcome, report.cases[0].tuned.error) == ("error", "no")
    again = Remembering()
    assert run(parse_suite(SUITE), again, kept=Kept()).passed
    assert len(again.sent) == 2, "the first answer was kept"


def test_each_model_goes_on_from_its_own_words(run: Any) -> None:
    tuned, base = Remembering(), Remembering()
    base.chat = lambda messages, options: Answer(f"base {len(messages)}", "stop", 0.5)  # type: ignore[method-assign]
    report = run(parse_suite(SUITE), tuned, base)
    assert report.cases[0].base.turns == ("base 2", "base 4")
    assert report.cases[0].tuned.turns == ("first", "second")


def test_a_suite_with_such_turns_is_written_as_it_was_read(tmp_path: Any) -> None:
    suite = parse_suite(SUITE, "s")
    (tmp_path / "s.yaml").write_text(render_suite(suite))
    assert load_suite(tmp_path / "s.yaml").digest == suite.digest


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        ("{role: user, content: q}, {role: assistant, by: me}, {role: user, content: r}", "`by: model`"),
        ("{role: user, by: model}", "speaks as the assistant"),
        ("{role: assistant, by: model}, {role: user, content: r}", "nothing before it"),
        ("{role: user, content: q}, {role: assistant, by: model, content: x}, {role: user, content: r}", "itself"),
        ("{role: user, content: q}, {role: assistant, by: model}", "ends with what the user says"),
        ("{role: user, content: q}, {role: assistant}, {role: user, content: r}", "`by: model`"),
    ],
)
def test_turns_that_make_no_sense_are_refused(turns: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_suite(f"version: 1\ntests: [{{messages: [{turns}]}}]", "s.yaml")
    assert said in f"{caught.value} {caught.value.hint}"
