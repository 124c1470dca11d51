"""What is computed from the answers, and how it is shown and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggship.errors import BadFile, UsageError
from ggship.evals.bench import as_document, chart, from_json, to_json, write_bench
from ggship.evals.bench.codec import bench_schema
from ggship.evals.bench.measure import enough
from ggship.evals.bench.plan import parse_concurrency, parse_duration
from ggship.evals.bench.rules import judge_rules, parse_rules
from ggship.evals.bench.window import Sample, Tally, Window
from ggship.evals.bench.words import row, table
from ggship.runtimes.streaming import End
from ggship.settings import templates_dir

from ..test_html import Page  # noqa: TID252

times = st.floats(0, 1000, allow_nan=False)


@given(times, st.floats(0.001, 100), st.lists(times, min_size=2, max_size=6, unique=True))
def test_windows_that_follow_each_other_share_an_answer_between_them(began: float, took: float, edges: Any) -> None:
    edges = [-1.0, *sorted(edges), 2000.0]
    shares = [Window(*pair).share(began, began + took) for pair in pairwise(edges)]
    assert all(0 <= share <= 1 + 1e-9 for share in shares)
    assert sum(shares) == pytest.approx(1)


def test_an_answer_counts_by_the_part_that_lies_in_the_window() -> None:
    tally = Tally(Window(10.0, 20.0))
    tally.add(Sample(began=8.0, ended=12.0, first=9.0, pieces=4, inside=1, end=End(tokens=40)))  # half, and a quarter
    tally.add(Sample(began=12.0, ended=16.0, first=13.0, pieces=4, inside=4, end=End(tokens=40, work_seconds=1.5)))
    tally.add(Sample(began=19.0, ended=24.0, first=22.0, pieces=4, inside=0, end=End(tokens=40)))  # a fifth, nothing
    tally.add(Sample(began=25.0, ended=26.0, first=25.5, pieces=1, inside=0, end=End(tokens=40)))  # after it
    tally.add(Sample(began=11.0, ended=11.5, kind="busy", example="503"))
    tally.add(Sample(began=9.0, ended=11.5, kind="busy", example="503"))  # asked before it opened
    level = tally.level(2, 0)
    assert level.requests_per_s == pytest.approx(1.7 / 10)
    assert level.tokens_per_s == pytest.approx(50 / 10)
    assert (level.answers, level.errors) == (2, 1)  # asked in the window; the late one is waited for
    assert level.latency is not None
    assert level.latency.slowest == 5.0
    assert level.waiting is not None
    assert level.waiting.p50 == pytest.approx(2.5)
    assert level.error_rate == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("gate", "observed", "passed"),
    [
        ("p95_latency <= 0.5", 0.4, True),
        ("p95_latency <= 0.3", 0.4, False),
        ("c1.p95_latency <= 0.3", 0.2, True),
        ("tokens_per_s >= 40", 50.0, True),
        ("tokens_per_s >= 60", 50.0, False),
        ("busy_rate <= 5%", 0.1, False),
        ("c2.error_rate <= 10%", 0.1, True),
        ("waiting" + "_p95 <= 1", None, None),
        ("p95_waiting <= 1", None, False),
    ],
)
def test_gates_hold_at_every_level_or_at_the_one_they_name(report: Any, gate: str, observed: Any, passed: Any) -> None:
    if passed is None:
        with pytest.raises(UsageError, match="unknown metric"):
            parse_rules([gate], [1, 2])
        return
    (judged,) = judge_rules(parse_rules([gate], [1, 2]), report.levels, [1, 2])
    assert judged.passed is passed
    assert judged.observed == (pytest.approx(observed) if observed is not None else None)


def test_a_level_that_was_not_measured_holds_no_gate(report: Any) -> None:
    (judged,) = judge_rules(parse_rules(["p95_latency <= 9"], [1, 2, 4]), report.levels, [1, 2, 4])
    assert (judged.passed, judged.observed) == (False, None)


def test_it_says_from_where_on_more_at_once_only_wait(report: Any) -> None:
    one, two = report.levels
    assert enough([one, two]) == 1
    assert enough([one, replace(two, tokens_per_s=104.0)]) == 1  # no more than from run to run
    assert enough([one, replace(two, tokens_per_s=120.0)]) is None  # and more might bring more
    assert enough([]) is None


def test_the_document_reads_back_and_keeps_its_schema(report: Any) -> None:
    assert from_json(to_json(report)) == report
    schema = bench_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(as_document(report), schema)
    kept = json.loads((templates_dir() / "schemas" / "bench.schema.json").read_text("utf-8"))
    assert kept == schema, "python -m ggship.evals.bench.codec > templates/schemas/bench.schema.json"


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"passed": False}, {"levels": "none"}, {"more": 1}, {"stopped": "tired"}],
    ids=lambda change: next(iter(change)),
)
def test_a_document_that_was_tampered_with_is_refused(report: Any, change: dict[str, Any]) -> None:
    with pytest.raises(BadFile):
        from_json(json.dumps({**as_document(report), **change}))


def test_the_table_fits_80_columns_whatever_the_figures(report: Any) -> None:
    wild = replace(
        report.levels[0],
        concurrency=512,
        requests_per_s=98765.4,
        tokens_per_s=987654.3,
        stream_tokens_per_s=99999.9,
        error_rate=0.99999,
        errors=99999,
        first_token=replace(report.levels[0].latency, p50=3600.0, p95=86400.0),
        latency=replace(report.levels[0].latency, p50=3600.0, p90=86400.0, p95=86400.0, p99=86400.0),
    )
    lines = table([wild, *report.levels])
    assert max(map(len, lines)) <= 80
    assert all(len(line.split()) == len(row(wild)) + (" %" in line) for line in lines[2:])  # no two run together
    assert ">99.9 %" in lines[2]


def test_the_page_is_one_inert_file_that_says_the_chart_in_words(report: Any, tmp_path: Path) -> None:
    hostile = replace(report, model="<script>alert(1)</script>‮", notes=("<img src=x>",))
    write_bench(hostile, tmp_path)
    text = (tmp_path / "bench.html").read_text("utf-8")
    page = Page(text)
    assert page.open == []
    assert page.all("script") == page.all("img") == page.all("link") == []
    assert "\u202e" not in text
    assert not any(name == "style" for _, attributes in page.elements for name in attributes)
    (svg,) = page.all("svg")
    assert "2 at once: 50.0 tokens a second, half answered within 0.30 s, 95 % within 0.40 s" in str(svg["aria-label"])
    assert len(page.all("polyline")) == 4
    assert from_json((tmp_path / "bench.json").read_bytes()) == hostile


def test_a_chart_stays_inside_its_frame_also_of_one_level(report: Any) -> None:
    for levels in (report.levels, report.levels[:1], ()):
        drawn = chart(as_document(replace(report, levels=tuple(levels))))
        page = Page(drawn)
        for circle in page.all("circle"):
            assert 0 < float(str(circle["cx"])) < 720
            assert 0 < float(str(circle["cy"])) < 260
        assert bool(drawn) is bool(levels)


def test_labels_of_lines_that_meet_lie_apart(report: Any) -> None:
    one = report.levels[0]
    same = replace(one, first_token=one.latency, latency=replace(one.latency, p95=one.latency.p50))
    texts = Page(chart(replace(report, levels=(same,)))).all("text")
    lines = [text for text in texts if str(text.get("class", "")).startswith("line")]
    right = sorted(float(str(text["y"])) for text in lines[1:])
    assert len(right) == 3
    assert all(later - earlier >= 12 for earlier, later in pairwise(right))


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("1.5m", 90), ("200ms", 0.2), ("45", 45), ("1h", 3600)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text, "--duration") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "0", "-3s", "ten", "3d", "nan", "1e9", "25h", "5 s m"])
def test_what_is_no_duration_is_refused_with_its_option(text: str) -> None:
    with pytest.raises(UsageError, match="--duration"):
        parse_duration(text, "--duration")


@pytest.mark.parametrize("text", ["", "0", "1,,2", "1,1", "a", "-1", "513", "1;2", "²"])
def test_what_is_no_list_of_levels_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_concurrency(text)
    assert parse_concurrency(" 8, 1 ") == (8, 1)
