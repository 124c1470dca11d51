"""What the figures of the reference say, and when they stand against a package."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggship.evals.reference import Reference, ReferenceCase, TokenDifference, bar_of, figures, summed_up
from ggship.reference.spread import spread
from ggship.reference.trained import Expected


def held(agreed: int, of: int = 100, precision: str = "F16", **more: Any) -> Reference:
    cases = [ReferenceCase("en", of, agreed, None if agreed == of else 3, (0.5, 0.001))]
    return summed_up(cases, model="m.gguf", precision=precision, bar=bar_of(precision), versions={}, **more)


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        (held(100), True),
        (held(99), True),
        (held(98), False),
        (held(98, precision="BF16"), False),
        (held(50, precision="Q8_0"), True),
        (held(50, precision="F16 and Q4_1"), True),
        (held(0, of=0), False),
        (held(100, prompts=["en: differs at character 3"]), False),
        (held(100, precision="Q8_0", tokens=[TokenDifference("en", 2, 5, ("7:61",), ("8:62",))]), False),
    ],
)
def test_what_passes(found: Reference, passed: bool) -> None:
    assert found.passed is passed
    assert bool(found.reasons) is not passed


def test_the_figures_are_of_all_cases_together() -> None:
    cases = [ReferenceCase("a", 30, 30, None, (0.1,)), ReferenceCase("b", 10, 8, 4, (0.3, 0.2))]
    found = summed_up(cases, model="m.gguf", precision="Q8_0", bar=None, versions={})
    assert (found.positions, found.agreed, found.agreement, found.same_answers) == (40, 38, 0.95, 1)
    assert found.kl_mean == pytest.approx(0.2)
    assert found.kl_max == 0.3
    said = dict(figures(found))
    assert said["tokens"].startswith("38 of 40 as base + adapter in Transformers: 95.00 %")
    assert "b at token 4" in said["answers"]


def test_tokens_that_differ_are_shown_by_their_bytes() -> None:
    found = held(100, tokens=[TokenDifference("zh", 2, 5, ("7:e4b9", "9:b0"), ("8:e4",))])
    assert dict(figures(found))["token"] == "zh: token 2, byte 5: trained 7:e4b9 9:b0, served 8:e4"
    assert "zh" in found.reasons[0]


@given(st.integers(0, 500), st.integers(0, 60))
def test_positions_are_spread_from_the_first_to_the_last(length: int, most: int) -> None:
    found = spread(length, most)
    assert found == sorted(set(found))
    assert len(found) == min(length, most)
    assert all(0 <= at < length for at in found)
    if length > most > 1:
        assert (found[0], found[-1]) == (0, length - 1)


@given(st.lists(st.floats(-60, 0), min_size=2, max_size=40), st.integers(0, 2**32 - 1))
def test_the_divergence_is_that_of_its_definition(logits: list[float], seed: int) -> None:
    numpy = pytest.importorskip("numpy")
    from ggship.reference.measure import divergence

    p = numpy.array(logits)
    q = p + numpy.random.default_rng(seed).normal(0, 2, len(p))
    normal = [row - numpy.logaddexp.reduce(row) for row in (p, q)]
    wanted = math.fsum(math.exp(a) * (a - b) for a, b in zip(*normal, strict=True))
    assert divergence(normal[0].astype("f4"), normal[1]) == pytest.approx(wanted, abs=1e-4)
    assert divergence(normal[0], normal[0]) == 0


def test_a_known_divergence() -> None:
    numpy = pytest.importorskip("numpy")
    from ggship.reference.measure import divergence

    p, q = numpy.log([0.5, 0.5]), numpy.log([0.9, 0.1])
    assert divergence(p, q) == pytest.approx(0.5 * math.log(0.5 / 0.9) + 0.5 * math.log(0.5 / 0.1))


def test_cases_with_tools_and_those_that_the_template_refuses_are_left_out() -> None:
    pytest.importorskip("jinja2")
    from ggship.errors import Refused
    from ggship.evals import parse_suite
    from ggship.prompts.chat import ChatTemplate
    from ggship.reference.measure import comparable

    chat = ChatTemplate("{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}x")
    suite = parse_suite(
        "version: 1\ntests:\n- {id: plain, prompt: hello}\n- {id: strict, system: be, prompt: hello}\n"
        "- {id: tool, prompt: hello, tools: [{type: function, function: {name: f, parameters: {type: object}}}]}\n"
    )
    left, out = comparable(suite.cases, chat, None)
    assert ([case.id for case in left], out) == (["plain"], ("strict", "tool"))
    with pytest.raises(Refused, match="no prompt to compare"):
        comparable(suite.cases, chat, "a system prompt for all")
    assert "2 prompts (strict, tool)" in dict(figures(held(100, left_out=out)))["left out"]


def test_no_distribution_is_no_error(tmp_path):
    """`--whole 0`: only the likeliest tokens are compared."""
    (tmp_path / "1.f32").write_bytes(b"")
    expected = Expected((1,), (b"a",), (2, 3), (), tmp_path / "1.f32")
    assert len(expected.distributions()) == 0
    np.array([[0.5, 1.5], [2.5, 3.5]], "<f4").tofile(tmp_path / "2.f32")
    assert Expected((1,), (b"a",), (2, 3), (0, 1), tmp_path / "2.f32").distributions().tolist() == [
        [0.5, 1.5],
        [2.5, 3.5],
    ]
