"""Killed anywhere and run again, a pipeline ends in the same bytes; run once more, it does nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ggship.digests import digest_of
from ggship.errors import Busy, UsageError
from ggship.pipeline import link_or_copy, run_stages
from ggship.place import DOCUMENT, Place, holding
from ggship.progress import Silent


class Doubling:
    """Writes its input twice; the input is a text, or what an earlier stage wrote."""

    def __init__(self, name: str, text: str = "", after: str = "", output: str = "") -> None:
        self.name, self.title = name, name
        self.text, self.after = text, after
        self.outputs = (output or f"{name}.txt",)
        self.held = True
        self.runs = 0

    def key(self, facts: Mapping[str, Any]) -> str:
        return digest_of({"text": self.text, "after": facts[self.after]["size"] if self.after else ""})

    def run(self, work: Path, facts: Mapping[str, Any], progress: Any) -> Mapping[str, Any]:
        self.runs += 1
        source = (work / f"{self.after}.txt").read_text() if self.after else self.text
        (work / self.outputs[0]).write_text(source * 2)
        return {"size": len(source) * 2}

    def check(self, done: Mapping[str, Any]) -> bool:
        return self.held


def chain(text: str = "ab") -> list[Doubling]:
    return [Doubling("one", text), Doubling("two", after="one"), Doubling("end", after="two", output=DOCUMENT)]


def make(place: Place, stages: list[Doubling]) -> tuple[str, ...]:
    with holding(place):
        place.prepare()
        outcome = run_stages(stages, place, Silent())
        if outcome.ran:
            place.settle(place.final)
    return outcome.ran


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "dist" / "law")


def test_a_second_run_does_nothing(place: Place) -> None:
    assert make(place, chain()) == ("one", "two", "end")
    before = {path: path.stat().st_mtime_ns for path in place.final.iterdir()}
    stages = chain()
    assert make(place, stages) == ()
    assert [stage.runs for stage in stages] == [0, 0, 0]
    assert {path: path.stat().st_mtime_ns for path in place.final.iterdir()} == before


def test_a_changed_input_runs_what_depends_on_it(place: Place) -> None:
    make(place, chain("ab"))
    assert make(place, chain("abc")) == ("one", "two", "end")
    assert (place.final / DOCUMENT).read_text() == "abc" * 8


def test_a_stage_that_gives_the_same_facts_again_stops_the_chain_there(place: Place) -> None:
    make(place, chain("ab"))
    assert make(place, chain("cd")) == ("one",)  # "two" depends on the size alone, and that is the same


def test_a_damaged_output_is_made_again(place: Place) -> None:
    make(place, chain())
    (place.final / "two.txt").write_text("ABABABAB")
    assert make(place, chain()) == ("two",)
    assert (place.final / "two.txt").read_text() == "abababab"


def test_what_is_gone_from_the_server_is_made_again(place: Place) -> None:
    make(place, chain())
    stages = chain()
    stages[1].held = False
    assert make(place, stages) == ("two",)


def test_a_failing_stage_leaves_the_package_before_it_untouched(place: Place) -> None:
    make(place, chain("ab"))
    stages = chain("xyz")

    def explode(*_: Any) -> Mapping[str, Any]:
        raise OSError(28, "No space left on device")

    stages[2].run = explode  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space"):
        make(place, stages)
    assert (place.final / DOCUMENT).read_text() == "ab" * 8
    assert make(place, chain("xyz")) == ("end",)  # goes on where it stopped
    assert (place.final / "one.txt").read_text() == "xyzxyz"


def test_a_folder_that_is_no_package_is_never_replaced(place: Place) -> None:
    place.final.mkdir(parents=True)
    (place.final / "thesis.doc").write_text("ten years of work")
    with pytest.raises(UsageError, match="not a package"):
        make(place, chain())
    assert (place.final / "thesis.doc").read_text() == "ten years of work"


def test_what_an_earlier_attempt_left_is_in_no_package(place: Place) -> None:
    place.work.mkdir(parents=True)
    for name in ("model.q4_k_m.gguf", "one.txt.log", "eval/.report.json.x7f3", "half/deep/file.partial"):
        (place.work / name).parent.mkdir(parents=True, exist_ok=True)
        (place.work / name).write_text("left")
    make(place, chain())
    assert {path.name for path in place.final.rglob("*")} == {"one.txt", "two.txt", DOCUMENT}


def test_a_log_that_a_failure_names_is_there_to_be_read(place: Place) -> None:
    stages = chain()

    def explode(work: Path, *_: Any) -> Mapping[str, Any]:
        (work / "two.txt.log").write_text("what went wrong")
        raise OSError(28, "No space left on device")

    stages[1].run = explode  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space"):
        make(place, stages)
    assert (place.work / "two.txt.log").read_text() == "what went wrong"
    make(place, chain())
    assert not (place.final / "two.txt.log").exists()


@pytest.mark.parametrize("absolute", [True, False])
def test_a_linked_file_is_brought_as_a_file(tmp_path: Path, absolute: bool) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "package").mkdir()
    (tmp_path / "blobs" / "0123").write_text("weights")
    link = tmp_path / "snapshots" / "base.gguf"
    link.symlink_to(tmp_path / "blobs" / "0123" if absolute else "../blobs/0123")
    link_or_copy(link, tmp_path / "package" / "base.gguf")
    assert not (tmp_path / "package" / "base.gguf").is_symlink()
    assert (tmp_path / "package" / "base.gguf").read_text() == "weights"


def test_a_failed_package_is_never_put_back_as_the_final_one(place: Place) -> None:
    """Killed between the two renames that replace a held package by another one."""
    with holding(place):
        place.prepare()
        run_stages(chain("first"), place, Silent())
        place.settle(place.held)
        place.prepare()
        run_stages(chain("second"), place, Silent())
        place.held.rename(place.root / "old-held")
        place.prepare()
    assert not place.final.exists()
    assert (place.held / DOCUMENT).read_text() == "first" * 8


def test_the_second_of_two_runs_says_who_holds_the_package(place: Place) -> None:
    heard: list[str] = []
    with (
        holding(place),
        pytest.raises(Busy, match=f"process {os.getpid()}"),
        holding(place, on_wait=heard.append, wait_seconds=0.05),
    ):
        pytest.fail("two held it at once")
    assert str(os.getpid()) in heard[0]


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_pipeline as t
place = t.Place(Path(sys.argv[2])); at = sys.argv[3]
die = lambda: os.kill(os.getpid(), signal.SIGKILL)
with t.holding(place):
    place.prepare()
    stages = t.chain()
    if at.startswith("inside-"):
        stage = next(s for s in stages if s.name == at[7:])
        stage.run = lambda work, facts, progress: ((work / (stage.outputs[0] + ".partial")).write_text("hal"), die())
    outcome = t.run_stages(stages, place, t.Silent(), on_stage=lambda name: die() if name == at else None)
    if at == "before-settling":
        die()
    final, work = place.final, place.work
    if at == "between-the-renames":
        final.rename(place.root / "old"); die()
    place.settle(final)
"""


@pytest.mark.parametrize(
    "moment",
    ["one", "two", "end", "inside-one", "inside-two", "inside-end", "before-settling", "between-the-renames"],
)
def test_killed_at_any_moment_it_ends_in_the_same_bytes(place: Place, tmp_path: Path, moment: str) -> None:
    whole = Place(tmp_path / "elsewhere" / "law")
    make(whole, chain())
    make(place, chain("old"))
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED))
    done = subprocess.run([sys.executable, script, str(Path(__file__).parent), str(place.final), moment], check=False)
    assert done.returncode == -signal.SIGKILL
    make(place, chain())
    assert {p.name: p.read_bytes() for p in place.final.iterdir()} == {
        p.name: p.read_bytes() for p in whole.final.iterdir()
    }
    assert not place.work.exists()
    assert make(place, chain()) == ()
