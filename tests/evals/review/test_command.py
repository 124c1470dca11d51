"""`ggship review` as people type it: what it finds, figures, gates, exports, and a page that outlives a crash."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ggship.cli import cli
from ggship.cli.funnel import run as run_command
from ggship.evals import write_reports
from ggship.evals.review.session import Session
from ggship.evals.review.store import Reviews


@pytest.fixture
def folder(answers: Any, suite: Any, tmp_path: Path) -> Path:
    """A report folder, as `ggship eval --out` leaves it, with 12 cases."""
    write_reports(answers(12), tmp_path / "answers", suite=suite("{version: 1, tests: [{prompt: q}]}"))
    return tmp_path / "answers"


@pytest.fixture
def read(answers: Any, sit: Any, judge_all: Any) -> Any:
    """read(who, mark, cases): somebody reads, and it is kept where the command looks."""

    def read(who: str, mark: Any = lambda _: "accept", cases: int | None = None) -> None:
        report = answers(12)
        clock = sit(report)._clock
        judge_all(Session(report, Reviews(report.tuned.label), who, clock), mark, cases=cases)

    return read


def review(*arguments: object) -> int:
    return run_command(cli, ["review", *map(str, arguments)])


def test_figures_of_two_reviewers(folder: Path, read: Any, capsys: Any) -> None:
    read("anna")
    read("ben", lambda number: "reject" if number < 3 else "accept")
    assert review(folder, "--status") == 0
    rows = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["read"] == "12 of 12 cases"
    assert rows["anna"] == rows["ben"] == "12 of 12"
    assert rows["accepted"].startswith("87.5 % (95 %: ")
    assert rows["base accepted"].startswith("0 %")
    assert rows["preferred"].startswith("100 %")
    assert rows["agreement"] == "0.00 (Cohen's kappa), the same in 75 % of 12"
    assert rows["on which is better"].startswith("1.00 (Cohen's kappa)")


def test_gates_are_printed_with_rule_observed_interval_and_verdict(folder: Path, read: Any, capsys: Any) -> None:
    read("anna", lambda number: "reject" if number < 3 else "accept")
    assert review(folder, "--gate", "human.accept >= 0.7", "--gate", "human.reviewed >= 100%") == 0
    out = capsys.readouterr().out
    assert "✓ human.accept >= 0.7 (observed 0.75; 95 %: 0.4677 to 0.9111)" in out
    assert "✓ human.reviewed >= 100% (observed 1)" in out
    assert review(folder, "--gate", "human.accept >= 0.8", "--json") == 3
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert (document["passed"], document["gates"][0]["observed"]) == (False, pytest.approx(0.75))
    assert "gate human.accept >= 0.8: observed 0.75" in printed.err


def test_a_gate_over_too_few_does_not_hold(folder: Path, read: Any, capsys: Any) -> None:
    read("anna", cases=9)
    assert review(folder, "--gate", "human.accept >= 0.1") == 3
    printed = capsys.readouterr()
    assert "gate human.accept >= 0.1: too few of them were read" in printed.err
    assert "gates need 10 cases read, and 9 were" in printed.out
    assert review(folder, "--gate", "human.kappa >= 0") == 3


def test_other_gates_are_judged_by_the_same_report(folder: Path, capsys: Any) -> None:
    assert review(folder, "--gate", "changed_rate >= 1") == 0
    assert review(folder, "--gate", "human.acept >= 1") == 2
    assert "human.accept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "form"), [("p.jsonl", None), ("p.json", None), ("p.csv", None), ("p.txt", "llama-factory")]
)
def test_exports_are_known_by_their_names(folder: Path, read: Any, tmp_path: Path, name: str, form: str | None) -> None:
    read("anna")
    file = tmp_path / "out" / name
    assert review(folder, "--export", file, *(("--format", form) if form else ())) == 0
    content = file.read_bytes()
    if name == "p.csv":
        assert content.startswith(b"\xef\xbb\xbfcase,reviewer")  # so that spreadsheets read Chinese
    elif name == "p.jsonl":
        assert len([json.loads(line) for line in content.splitlines()]) == 12
    else:
        assert len(json.loads(content)) == 12
        (info,) = json.loads((tmp_path / "out" / "p.dataset_info.json").read_text()).values()
        assert info["file_name"] == name


def test_nothing_to_export_is_said_and_no_file_is_made(folder: Path, tmp_path: Path, capsys: Any) -> None:
    assert review(folder, "--export", tmp_path / "p.jsonl") == 2
    assert not (tmp_path / "p.jsonl").exists()
    assert "no answer was preferred or edited" in capsys.readouterr().err
    assert review(folder, "--format", "dpo") == 2


def test_what_cannot_be_reviewed_is_said(tmp_path: Path, capsys: Any) -> None:
    assert review(tmp_path / "nothing", "--status") == 1
    assert "no package is named" in capsys.readouterr().err
    (tmp_path / "report.json").write_text("{")
    assert review(tmp_path, "--status") == 1
    assert review(tmp_path / "report.json", "--status") == 1
    assert "not JSON" in capsys.readouterr().err


def test_damaged_lines_are_said(folder: Path, read: Any, capsys: Any) -> None:
    read("anna")
    with next(Reviews("law").folder.glob("*.jsonl")).open("ab") as file:
        file.write(b'{"event": "judg')
    assert review(folder, "--status") == 0
    assert "1 lines of" in capsys.readouterr().err


@pytest.fixture
def served(folder: Path) -> Iterator[Any]:
    """served(*arguments): the command as a process of its own, with the address that it printed."""
    started = []

    def serve(*arguments: str) -> tuple[Any, str]:
        command = [sys.executable, "-m", "ggship", "review", str(folder), "--no-open", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
        started.append(process)
        for line in process.stderr:
            if "http://" in line:
                return process, line.split("→ ")[1].strip()
        raise AssertionError("no address was printed")

    yield serve
    for process in started:
        process.kill()
        process.communicate()


def post(url: str, path: str, body: Any) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    headers = {"X-Ggship-Token": parse_qs(parts.query)["token"][0], "Origin": f"http://{parts.netloc}"}
    connection.request("POST", path, json.dumps(body), {**headers, "Content-Type": "application/json"})
    return connection.getresponse().status


SAID = {"prefer": "A", "marks": {"A": "accept", "B": "reject"}, "edits": {}, "comment": ""}


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_killed_server_loses_nothing(served: Any, folder: Path) -> None:
    process, url = served("--reviewer", "anna")
    for number in range(3):
        assert post(url, f"/api/case/{number}", SAID) == 200
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(Reviews("law").read("anna").said) == 3
    _, again = served("--reviewer", "anna")
    assert post(again, "/api/case/3", SAID) == 200
    assert len(Reviews("law").read("anna").said) == 4


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_it_with_a_summary(served: Any) -> None:
    process, url = served("--reviewer", "anna")
    token = parse_qs(urlsplit(url).query)["token"][0]
    assert len(token) >= 40
    assert urlsplit(url).hostname == "127.0.0.1"
    assert post(url, "/api/case/0", SAID) == 200
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    assert "1 of 12 cases" in out
    assert token not in out + err  # after the line that was read above


def test_a_port_that_is_taken_is_said(served: Any, folder: Path, capsys: Any) -> None:
    _, url = served()
    assert review(folder, "--no-open", "--port", urlsplit(url).port) == 1
    err = capsys.readouterr().err
    assert "the page cannot be served: address already in use" in err
    assert "another port with --port" in err


def test_two_reviewers_at_once_have_pages_of_their_own(served: Any) -> None:
    (_, anna), (_, ben) = served("--reviewer", "anna"), served("--reviewer", "ben")
    assert post(anna, "/api/case/0", SAID) == post(ben, "/api/case/0", SAID) == 200
    assert post(anna.replace(urlsplit(anna).netloc, urlsplit(ben).netloc), "/api/case/1", SAID) == 403
    assert {one.reviewer for one in Reviews("law").judgements()} == {"anna", "ben"}
