"""`ggship suite from`, check and show, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ggship.cli import main
from ggship.evals import load_suite
from ggship.evals.datasets.make import Wanted, make_suite
from ggship.settings import example_dir

DATA = example_dir().parent / "data"


def ggship(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return int(stop.value.code or 0), said.out, said.err


def test_a_suite_of_held_out_questions_is_made_and_loads(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "suite.yaml"
    command = ["suite", "from", DATA / "held_out.csv", "--train", DATA / "law_qa.csv", "--take", 5, "--out", out]
    code, said, _ = ggship(capsys, *command)
    assert code == 0
    assert "5 of 20 questions" in said
    suite = load_suite(out)
    assert len(suite.cases) == 5
    assert {tag for case in suite.cases for tag in case.tags} == {"held-out"}
    assert {(item.type, item.threshold) for case in suite.cases for item in case.assertions} == {("rouge-l", 0.3)}
    text = out.read_text("utf-8")
    assert "Compared with 130 rows of law_qa.csv" in text
    assert "no two right answers are the same" in text
    code, _, said = ggship(capsys, *command)
    assert (code, "there already" in said) == (2, True)
    assert ggship(capsys, *command, "--force")[0] == 0
    assert out.read_text("utf-8") == text, "the same data and seed give the same suite"


def test_without_a_file_the_suite_goes_to_stdout_and_the_words_to_stderr(capsys: Any) -> None:
    code, out, said = ggship(capsys, "suite", "from", DATA / "held_out.csv", "--take", 2)
    assert code == 0
    assert out.startswith("# 2 of 20 questions")
    assert "--train FILE finds those" in said


def test_trained_questions_are_refused_as_held_out(capsys: Any) -> None:
    data = DATA / "law_qa.csv"
    code, _, said = ggship(capsys, "suite", "from", data, "--train", data)
    assert (code, "no question of the data is held-out" in said) == (2, True)


def test_broken_rows_are_told_and_stop_only_where_strict(tmp_path: Path, capsys: Any) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("question,answer\na,b\nbad\n" + "bad\n" * 20)
    code, out, said = ggship(capsys, "suite", "from", data, "--json")
    told = json.loads(out)
    assert (code, len(told["broken"]), told["broken"][0]["line"]) == (0, 21, 3)
    assert "not used: line 3: 1 columns where the header has 2" in said
    assert "11 more places" in said
    code, _, said = ggship(capsys, "suite", "from", data, "--strict")
    assert (code, "21 rows cannot be read" in said) == (2, True)


ROWS = [
    {"question": "Which letter?", "answer": "B"},
    {"question": "How long?", "answer": "70 years"},
    {"question": "As JSON?", "answer": '{"years": 70}'},
    {"question": "Explain it.", "answer": "It lasts for the life of the author and 70 years more."},
]


def test_each_reference_gets_the_assertion_that_fits_it(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(map(json.dumps, ROWS)))
    made = make_suite(data, Wanted())
    assert [case.assertions[0].type for case in made.suite.cases] == ["equals", "icontains", "is-json", "rouge-l"]
    assert {reason.type for reason in made.reasons} == {"equals", "icontains", "is-json", "rouge-l"}
    assert all(reason.why for reason in made.reasons)


def test_one_assertion_for_all_and_the_figures_of_a_trainer(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text("\n".join(map(json.dumps, ROWS)))
    made = make_suite(data, Wanted(assertion="chrf", threshold=0.4, recorded="llamafactory"))
    for case in made.suite.cases:
        assert (case.assertions[0].type, case.assertions[0].threshold) == ("chrf", 0.4)
        recorded = {item.name: (item.unit, item.weight) for item in case.assertions[1:]}
        assert recorded["llamafactory.bleu-4"] == ("char", 0.0)
        assert recorded["llamafactory.rouge-l"] == ("jieba", 0.0)


def test_a_reference_becomes_a_rubric_in_words(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps(ROWS[3]))
    rubric = make_suite(data, Wanted(assertion="llm-rubric")).suite.cases[0].assertions[0].value
    assert str(rubric).startswith("It says what this answer says")
    assert str(rubric).endswith(ROWS[3]["answer"])


def test_check_shows_every_mistake_with_its_line(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("version: 1\ntests:\n  - {promt: a}\n  - {prompt: a, assert: [{type: contians, value: a}]}\n")
    code, out, said = ggship(capsys, "suite", "check", path)
    assert code == 2
    assert "did you mean `prompt`?" in out
    assert "line 4" in out
    assert "did you mean `contains`?" in out
    assert "2 mistakes" in said
    code, out, _ = ggship(capsys, "suite", "check", path, "--json")
    assert [one["hint"] for one in json.loads(out)["mistakes"]] == [
        "did you mean `prompt`?",
        "did you mean `contains`?",
    ]


def test_check_tells_what_is_odd_and_what_it_takes(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(
        "version: 1\ntests:\n  - {prompt: a, vars: {who: me}, repeat: 3, assert: [{type: llm-rubric, value: kind}]}\n"
        "  - {prompt: a}\n"
    )
    code, out, said = ggship(capsys, "suite", "check", path)
    assert code == 0
    assert "--judge (`llm-rubric`)" in out
    for odd in ("1 scored tests prove little", "2 tests ask the same", "`who` is used nowhere", "temperature 0"):
        assert odd in said


def test_show_lists_the_tests_of_a_tag(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("version: 1\ntests: [{id: one, prompt: Who?, tags: [zh]}, {id: two, prompt: What?}]\n")
    code, out, _ = ggship(capsys, "suite", "show", path, "--tag", "zh")
    assert (code, "one" in out, "two" in out) == (0, True, False)
    code, _, said = ggship(capsys, "suite", "show", path, "--tag", "zhh")
    assert (code, "did you mean `zh`?" in said) == (2, True)


def test_a_suite_of_tools_asks_with_them(tmp_path: Path) -> None:
    tool = {"type": "function", "function": {"name": "law", "parameters": {"type": "object"}}}
    call = {"id": "1", "type": "function", "function": {"name": "law", "arguments": "{}"}}
    row = {
        "messages": [{"role": "user", "content": "§ 5?"}, {"role": "assistant", "content": None, "tool_calls": [call]}],
        "tools": [tool],
    }
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps(row))
    made = make_suite(data, Wanted())
    out = tmp_path / "s.yaml"
    out.write_text(made.text)
    again = load_suite(out)
    assert again.digest == made.suite.digest
    assert again.cases[0].options.tools == (tool,)
    assert (again.cases[0].assertions[0].type, again.cases[0].assertions[0].value) == ("tool-call-f1", ("law",))
