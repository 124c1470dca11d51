"""An evaluation that was stopped at any point goes on where it was, and a base is not asked the same twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ggship.errors import ServerError, ServerUnreachable
from ggship.evals.kept import AnswerFile, Kept, question_of
from ggship.runtimes.model import Answer, ChatOptions

SIXTY = "version: 1\ntests:\n" + "".join(
    f"  - {{id: c{n}, prompt: q{n}, assert: [{{type: contains, value: a}}]}}\n" for n in range(60)
)


def telling(scripted: Any, script: Any = None, *, label: str = "tuned", digest: str | None = "d1") -> Any:
    """A model whose server tells what its answers depend on."""

    class Telling(scripted):  # type: ignore[misc]
        def digest(self) -> str | None:
            return digest

        def setting(self) -> dict[str, str]:
            return {"server": label}

    return Telling(script or {}, label=label, otherwise="a")


def asked(model: Any) -> list[str]:
    return [question for question in model.asked if question != "Hi"]


DIES = """
import os, signal, sys
from pathlib import Path
from ggship.clock import SystemClock
from ggship.evals import evaluate, load_suite
from ggship.evals.kept import Kept
from ggship.runtimes.model import Answer

class Model:
    label = model = "m"
    def digest(self): return "d1"
    def setting(self): return {}
    def render(self, messages): return None
    def chat(self, messages, options):
        question = messages[-1]["content"]
        with open(sys.argv[2], "a") as log:
            log.write(question + "\\n")
        if question == sys.argv[3]:
            os.kill(os.getpid(), signal.SIGKILL)
        return Answer("a", "stop", 0.1)

report = evaluate(load_suite(Path(sys.argv[1])), Model(), None, clock=SystemClock(), kept=Kept())
assert report.tuned.passes == 60, report.tuned
"""


def test_killed_at_case_37_it_asks_only_the_rest(tmp_path: Path) -> None:
    suite, log = tmp_path / "suite.yaml", tmp_path / "log"
    suite.write_text(SIXTY)

    def run(kill_at: str) -> tuple[int, list[str]]:
        log.write_text("")
        done = subprocess.run([sys.executable, "-c", DIES, str(suite), str(log), kill_at], check=False)
        return done.returncode, log.read_text().split()

    code, first = run("q37")
    assert code == -signal.SIGKILL
    assert first == ["Hi", *(f"q{n}" for n in range(38))]
    assert run("none") == (0, ["Hi", *(f"q{n}" for n in range(37, 60))])
    assert run("none") == (0, ["Hi", *(f"q{n}" for n in range(60))]), "a finished one asks the live model again"


def test_a_server_that_dies_loses_nothing_and_the_next_run_asks_the_rest(run: Any, scripted: Any, suite: Any) -> None:
    dying = telling(scripted, {f"q{n}": ServerUnreachable("nothing answers") for n in range(37, 60)})
    report = run(suite(SIXTY), dying, kept=Kept())
    assert (report.tuned.passes, report.errors) == (37, 23)
    told: list[tuple[str, int]] = []
    mended = telling(scripted)
    report = run(suite(SIXTY), mended, kept=Kept(on_found=lambda *found: told.append(found)))
    assert (report.tuned.passes, report.errors) == (60, 0)
    assert asked(mended) == [f"q{n}" for n in range(37, 60)]
    assert told == [("tuned", 37)]


def test_a_refusal_is_an_answer_and_leaves_nothing_behind(run: Any, scripted: Any, suite: Any) -> None:
    script = {"q5": ServerError("too long", status=400)}
    assert run(suite(SIXTY), telling(scripted, script), kept=Kept()).errors == 1
    again = telling(scripted, script)
    run(suite(SIXTY), again, kept=Kept())
    assert len(asked(again)) == 60


def test_a_base_is_asked_once_for_its_digest(run: Any, scripted: Any, capitals: Any) -> None:
    def base_asked(digest: str | None = "base-1", **more: Any) -> int:
        base = telling(scripted, label="base", digest=digest)
        report = run(capitals, telling(scripted), base, kept=Kept(**more))
        assert report.base.passes + report.base.fails == 4
        return len(base.asked)

    assert base_asked() == 5
    assert base_asked() == 0, "not even warmed up"
    assert base_asked("base-2") == 5
    assert base_asked(fresh=True) == 5
    assert base_asked() == 0
    assert base_asked(None) == base_asked(None) == 5, "a name without a digest may be another model tomorrow"


@pytest.mark.parametrize(
    "more", ["gates: [p95_latency_ratio <= 9]", "defaults: {assert: [{type: latency, threshold: 1}]}"]
)
def test_where_times_are_judged_both_models_are_asked_now(run: Any, scripted: Any, suite: Any, more: str) -> None:
    timed = suite(f"version: 1\n{more}\ntests: [{{prompt: q, assert: [{{type: contains, value: a}}]}}]\n")
    for _ in range(2):
        base = telling(scripted, label="base")
        run(timed, telling(scripted), base, kept=Kept())
        assert base.asked == ["Hi", "q"]


def test_only_the_same_question_is_the_same(run: Any, scripted: Any, suite: Any) -> None:
    text = "version: 1\ndefaults: {options: {num_predict: %s}}\ntests: [{prompt: q}, {prompt: r}]\n"
    for tokens, expected in ((8, ["q", "r"]), (9, ["q", "r"]), (8, [])):
        base = telling(scripted, label="base")
        run(suite(text % tokens), telling(scripted), base, kept=Kept())
        assert asked(base) == expected
    base = telling(scripted, label="base")
    run(suite((text % 8).replace("r}", "s}")), telling(scripted), base, kept=Kept())
    assert asked(base) == ["s"], "an edited test is asked, the others are not"


def test_a_torn_line_is_asked_again_and_spoils_none_after_it(tmp_path: Path) -> None:
    file, head = tmp_path / "answers" / "a.jsonl", {"of": {"digest": "d"}}
    one = AnswerFile(file, head, passing=False, fresh=False)
    one.put("first", Answer("eins", "stop", 0.5, tool_calls=()))
    one.put("second", Answer("zwei \ud83d", "stop", 0.5))
    one.end(whole=False, digest="d")
    file.write_bytes(file.read_bytes()[:-20])
    two = AnswerFile(file, head, passing=False, fresh=False)
    assert two.get("second") is None
    two.put("third", Answer("drei", "stop", 0.5))
    two.end(whole=False, digest=None)
    three = AnswerFile(file, head, passing=False, fresh=False)
    assert [getattr(three.get(name), "text", None) for name in ("first", "second", "third")] == ["eins", None, "drei"]
    three.end(whole=False, digest=None)


def test_answers_are_for_their_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "answers" / "base" / "a.jsonl"
    AnswerFile(file, {"of": {"digest": "d"}}, passing=False, fresh=False).end(whole=True, digest="d")
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_of_answers_has_an_end(tmp_path: Path) -> None:
    kept = AnswerFile(tmp_path / "a.jsonl", {"of": {"digest": None}}, passing=False, fresh=False, most=10_000)
    for number in range(100):
        kept.put(str(number), Answer("x" * 1000, "stop", 0.5))
    kept.end(whole=True, digest=None)
    assert 5_000 < (tmp_path / "a.jsonl").stat().st_size <= 10_000


def test_a_server_without_digests_is_gone_on_with_for_a_day(
    run: Any, scripted: Any, suite: Any, tmp_path: Path
) -> None:
    def go_on(script: Any = None) -> int:
        model = telling(scripted, script, digest=None)
        run(suite(SIXTY), model, kept=Kept(tmp_path))
        return len(asked(model))

    broken = {"q37": ServerUnreachable("nothing answers")}
    assert go_on(broken) == 41
    assert go_on(broken) == 4
    file = next(tmp_path.glob("unfinished/*"))
    os.utime(file, (time.time() - 90_000,) * 2)
    assert go_on() == 60


def test_a_model_replaced_while_it_was_asked_is_said_and_not_kept(run: Any, scripted: Any, capitals: Any) -> None:
    base = telling(scripted, label="base")
    digests = iter(["old", "new", "new"])
    base.digest = lambda: next(digests)
    report = run(capitals, telling(scripted), base, kept=Kept())
    assert any("replaced by another while it was asked" in warning for warning in report.warnings)
    base = telling(scripted, label="base", digest="old")
    run(capitals, telling(scripted), base, kept=Kept())
    assert len(base.asked) == 5


def test_a_folder_that_takes_nothing_stops_no_evaluation(
    run: Any, scripted: Any, capitals: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    kept = Kept(tmp_path / "file")
    assert run(capitals, telling(scripted), kept=kept).tuned.fails == 4
    assert "Not a directory" in kept.trouble


def test_a_question_is_all_that_the_model_is_told() -> None:
    said = [{"role": "user", "content": "q"}]
    ways = {
        question_of(said, ChatOptions()),
        question_of(said, ChatOptions(seed=43)),
        question_of(said, ChatOptions(stop=("a",))),
        question_of([{"role": "system", "content": ""}, *said], ChatOptions()),
    }
    assert len(ways) == 4
    assert question_of(tuple(said), ChatOptions()) in ways
