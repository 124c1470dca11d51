from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggship.evals.stats import Z95, cases_needed, effective_number, holm, mcnemar, paired_interval, wilson

counts = st.integers(0, 60)
shares = st.floats(0, 1, allow_subnormal=False)


@pytest.mark.parametrize(
    ("only_left", "only_right", "n", "low", "high"),
    [
        # Fagerland, Lydersen, Laake, Statistical Analysis of Contingency Tables (2017), chapter 8: Cavo 2012.
        (6, 16, 161, -0.1240, -0.0054),
        # The same, Bentur 2009.
        (1, 7, 21, -0.517, -0.026),
    ],
)
def test_the_paired_interval_is_the_published_one(
    only_left: int, only_right: int, n: int, low: float, high: float
) -> None:
    digits = 4 if n == 161 else 3
    assert [round(bound, digits) for bound in paired_interval(only_left, only_right, n)] == [low, high]


def test_mcnemars_exact_p_is_the_published_one() -> None:
    assert round(mcnemar(6, 16), 6) == 0.052479  # the same chapter


@given(counts, counts, counts)
def test_the_paired_interval_holds_what_was_seen_and_mirrors(left: int, right: int, alike: int) -> None:
    n = left + right + alike
    low, high = paired_interval(left, right, n)
    seen = (left - right) / n if n else 0.0
    assert -1 <= low <= seen <= high <= 1
    mirrored = paired_interval(right, left, n)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


@given(counts, counts, counts)
def test_the_paired_interval_agrees_with_mcnemars_own_statistic(left: int, right: int, alike: int) -> None:
    """At a difference of 0 the score test is McNemar's: (b - c)^2 / (b + c)."""
    if left + right:
        statistic = abs(left - right) / math.sqrt(left + right)
        low, high = paired_interval(left, right, left + right + alike)
        if abs(statistic - Z95) > 1e-6:
            assert (low > 0 or high < 0) is (statistic > Z95)


@given(counts, counts, counts, st.integers(2, 9))
def test_more_cases_of_the_same_kind_narrow_the_interval(left: int, right: int, alike: int, times: int) -> None:
    n = left + right + alike
    if n:
        low, high = paired_interval(left, right, n)
        nearer, farther = paired_interval(left * times, right * times, n * times)
        assert farther - nearer <= high - low + 1e-9


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    """Over every outcome of 12 cases, each weighed by how probable it is."""
    n, gained, lost = 12, 0.3, 0.1
    held = 0.0
    for left in range(n + 1):
        for right in range(n + 1 - left):
            ways = math.comb(n, left) * math.comb(n - left, right)
            chance = ways * gained**left * lost**right * (1 - gained - lost) ** (n - left - right)
            low, high = paired_interval(left, right, n)
            held += chance * (low <= gained - lost <= high)
    assert 0.93 < held < 0.99


@given(st.lists(shares, max_size=12))
def test_holm_never_makes_a_difference_look_surer(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(value <= more <= 1 for value, more in zip(values, adjusted, strict=True))
    for one in range(len(values)):
        for other in range(len(values)):
            if values[one] < values[other]:
                assert adjusted[one] <= adjusted[other]


def test_holm_is_that_of_the_reference() -> None:
    # statsmodels 0.15.0: multipletests(values, method="holm")[1]
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.2]) == (0.2,)
    assert holm([]) == ()


@given(counts, counts, counts)
def test_what_is_needed_grows_as_the_difference_shrinks(left: int, right: int, alike: int) -> None:
    n = left + right + alike
    needed = cases_needed(left, right, n)
    assert (needed is None) is (left == right)
    if needed is not None:
        assert needed >= 4
        further = cases_needed(left, right, n + 10)
        assert further is not None
        assert further > needed


def test_what_is_needed_is_the_textbooks() -> None:
    # Connor 1987: discordant 0.3 (0.25 and 0.05), so the difference is 0.2:
    # (1.96 * sqrt(0.3) + 0.8416 * sqrt(0.26))^2 / 0.04 = 56.4
    assert cases_needed(25, 5, 100) == 57


@given(shares, st.floats(0.5, 1e6))
def test_wilson_holds_the_rate(rate: float, n: float) -> None:
    low, high = wilson(rate, n)
    assert 0 <= low <= rate <= high <= 1


def test_wilson_is_that_of_statsmodels() -> None:
    # statsmodels 0.15.0: proportion_confint(7, 10, method="wilson")
    assert wilson(0.7, 10) == pytest.approx((0.39677814746, 0.89220873259), abs=1e-10)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20))
def test_unequal_weights_never_count_for_more_than_there_are(weights: list[float]) -> None:
    assert 1 - 1e-9 <= effective_number(weights) <= len(weights) + 1e-9
