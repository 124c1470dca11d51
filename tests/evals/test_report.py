from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ggship.errors import BadFile, ServerError
from ggship.evals import add_gates, as_document, from_json, load_suite, read_report, smoke_suite, to_json
from ggship.evals.dump import render_suite
from ggship.evals.report_schema import report_schema
from ggship.evals.summary import percent, report_markdown, summary_rows
from ggship.evals.write import FILES, write_reports
from ggship.settings import templates_dir

SCHEMA = json.loads((templates_dir() / "schemas" / "report.schema.json").read_text())
RIGHT = {"France?": "Paris.", "Japan?": "Tokyo.", "Egypt?": "Cairo.", "Peru?": "Lima."}


@pytest.fixture
def report(run: Any, scripted: Any, capitals: Any) -> Any:
    tuned = scripted({**RIGHT, "Peru?": ServerError("no", status=500)})
    return run(capitals, tuned, scripted({"Japan?": "Tokyo"}, label="base"))


def test_a_report_is_read_back_as_it_was(report: Any, hostile: Any) -> None:
    assert from_json(to_json(report)) == report
    assert from_json(to_json(hostile)) == hostile


def test_reports_follow_the_committed_schema(report: Any, hostile: Any) -> None:
    assert report_schema() == SCHEMA, "python -m ggship.evals.report_schema > templates/schemas/report.schema.json"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.validate(as_document(report), SCHEMA)
    jsonschema.validate(as_document(hostile), SCHEMA)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(version=2), "version 2"),
        (lambda d: d.pop("suite"), "`suite` is missing"),
        (lambda d: d.update(extra=1), "`extra` is unknown"),
        (lambda d: d["tuned"].update(passes="3"), "int belongs here"),
        (lambda d: d["tuned"].update(passes=True), "int belongs here"),
        (lambda d: d["cases"][0]["tuned"].update(outcome="passed"), "'passed' is none of"),
        (lambda d: d["tuned"].update(interval=[0.1]), "1 values where 2 belong"),
        (lambda d: d.update(cases={}), "list belongs here"),
        (lambda d: d.update(passed=True), "the verdict is not what"),
        (lambda d: d.update(passed=True, verdict={"passed": True, "reasons": []}), "the verdict is not what"),
    ],
)
def test_a_report_that_was_tampered_with_is_refused(report: Any, change: Any, said: str) -> None:
    document = as_document(report)
    change(document)
    with pytest.raises(BadFile, match=said):
        from_json(json.dumps(document), "r.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_what_is_no_report_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(BadFile, match=r"r\.json"):
        read_report(tmp_path / "r.json")


def test_a_report_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="there is no report"):
        read_report(tmp_path / "r.json")


def test_the_same_answers_give_the_same_bytes(run: Any, scripted: Any, capitals: Any, tmp_path: Path) -> None:
    written = []
    for seconds in (0.1, 7.3):
        tuned, base = scripted(RIGHT, seconds=seconds), scripted(label="base", seconds=2 / seconds)
        folder = tmp_path / str(seconds)
        report = run(capitals, tuned, base)
        write_reports(report, folder, suite=capitals, curve=[(1, 2.0, None), (2, 1.0, 1.1)], provenance=[("a", "b")])
        document = json.loads((folder / "report.json").read_text())
        assert document.pop("timing")["tuned"]["p50_seconds"] == seconds
        written.append((document, *((folder / name).read_bytes() for name in FILES if name != "report.json")))
    assert written[0] == written[1]


def test_a_gate_on_speed_keeps_its_figure_in_timing(run: Any, scripted: Any, suite: Any, tmp_path: Path) -> None:
    made = suite("{version: 1, gates: [p95_latency <= 1], tests: [{prompt: q}]}")
    report = run(made, scripted(seconds=7.25))
    document = as_document(report)
    assert document.pop("timing")["gates"][0]["observed"] == 7.25
    assert "7.25" not in json.dumps(document)
    write_reports(report, tmp_path, suite=made)
    assert "7.25" not in (tmp_path / "report.html").read_text() + (tmp_path / "junit.xml").read_text()
    write_reports(report, tmp_path, suite=made, timings=True)
    assert "7.25" in (tmp_path / "report.html").read_text()


def test_the_suite_is_copied_as_it_lies_there(report: Any, capitals: Any, tmp_path: Path) -> None:
    source = tmp_path / "my-suite.yaml"
    source.write_text("# mine\n" + render_suite(capitals), "utf-8-sig")
    paths = write_reports(report, tmp_path / "eval", suite=capitals, suite_path=source)
    assert [path.name for path in paths] == list(FILES)
    assert paths[0].read_bytes() == source.read_bytes()
    assert sorted(path.name for path in (tmp_path / "eval").iterdir()) == sorted(FILES)


@pytest.mark.parametrize("now", ["version: 1\ntests: [{prompt: Hi}]\n", "tests: [", "\xff", None])
def test_a_suite_that_was_edited_meanwhile_is_written_as_it_was_asked(
    report: Any, capitals: Any, tmp_path: Path, now: str | None
) -> None:
    source = tmp_path / "my-suite.yaml"
    if now is not None:
        source.write_bytes(now.encode("latin-1"))
    write_reports(report, tmp_path, suite=capitals, suite_path=source)
    assert load_suite(tmp_path / "suite.yaml").digest == report.suite_digest


def test_gates_of_the_command_line_are_in_the_suite_that_is_written(
    run: Any, scripted: Any, capitals: Any, tmp_path: Path
) -> None:
    source = tmp_path / "my-suite.yaml"
    source.write_text(render_suite(capitals), "utf-8")
    asked = add_gates(capitals, ["score >= 0.5"])
    write_reports(run(asked, scripted(RIGHT)), tmp_path / "eval", suite=asked, suite_path=source)
    assert load_suite(tmp_path / "eval" / "suite.yaml").gates == ("pass_rate >= 1", "score >= 0.5")


# Whoever is killed while a report is renamed into place leaves a name that packaging knows how to clean away.
KILLED = """
import os, signal, sys
from pathlib import Path
from ggship.clock import SystemClock
from ggship.evals import evaluate, smoke_suite, write_reports
from ggship.runtimes.model import Answer
class Model:
    label = model = "m"
    def chat(self, messages, options): return Answer("a", "stop", 0.1)
    def render(self, messages): return None
    def digest(self): return None
report = evaluate(smoke_suite(), Model(), None, clock=SystemClock())
sys.addaudithook(lambda event, _: os.kill(os.getpid(), signal.SIGKILL) if event == "os.rename" else None)
write_reports(report, Path(sys.argv[1]), suite=smoke_suite())
"""


def test_killed_while_it_writes_it_leaves_only_what_is_known_to_be_partial(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    left = [path.name for path in tmp_path.iterdir()]
    assert left
    assert all(name.endswith(".partial") for name in left)


def test_a_suite_that_was_made_can_be_asked_again(run: Any, scripted: Any, tmp_path: Path) -> None:
    made = smoke_suite(["What is {{this}}?"], system="Be brief.")
    write_reports(run(made, scripted(otherwise="a"), scripted()), tmp_path, suite=made)
    assert load_suite(tmp_path / "suite.yaml").digest == made.digest


def test_the_terminal_rows_say_what_matters(report: Any, hostile: Any) -> None:
    rows = dict(summary_rows(report))
    assert rows["score"] == "100 % of 3 cases, base 25 %"
    assert rows["against base"] == "2 better, 0 worse, 1 alike; no regressions"
    assert rows["errors"] == "1 without a judged answer: peru"
    assert rows["gate"] == "✓ pass_rate >= 1 (observed 1; 95 %: 0.4385 to 1)"
    assert rows["verdict"] == "failed"
    assert "\x1b" not in str(summary_rows(hostile))
    assert "\u202e" not in "".join(value for _, value in summary_rows(hostile))


def test_another_model_is_called_by_its_name_and_may_answer_alike(run: Any, scripted: Any, suite: Any) -> None:
    asked = suite("version: 1\ntests: [{prompt: Hi, assert: [{type: equals, value: a}]}]\n")
    report = run(asked, scripted(otherwise="a"), scripted(otherwise="a", label="law:v1"), rival="other")
    rows = dict(summary_rows(report))
    assert rows["score"] == "100 % of 1 cases, law:v1 100 %"
    assert rows["against law:v1"].startswith("0 better, 0 worse, 1 alike")
    assert report.passed, "two good models may say the same"
    assert "Against law:v1:" in report_markdown(report)
    assert from_json(to_json(report)) == report


def test_markdown_has_the_scores_against_the_base(report: Any) -> None:
    text = report_markdown(report)
    assert "| pass rate | 100 % (3 of 3; 95 %: 44% to 100%) | 25 % (1 of 4; 95 %: 5% to 70%) |" in text
    assert "**Failed**" in text
    assert "\n\n\n" not in text


def test_a_rate_that_is_not_quite_whole_does_not_look_so() -> None:
    assert [percent(rate) for rate in (1.0, 0.9999, 0.5, 1 / 3, 0.0, None)] == [
        "100 %",
        "99.9 %",
        "50 %",
        "33.3 %",
        "0 %",
        "–",
    ]
