"""The e-processes against their definitions, and under their own null hypothesis."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench.stats import sequential
from grokbench.stats.permutation import sign_patterns
from grokbench.stats.sequential import log_e_share, log_e_sizes


@pytest.mark.parametrize("differences", [(), (-0.3,), (0.3,), (-2.0, 0.1, -0.4, 0.0), (1.0, -3.0, -3.0)])
def test_equals_the_definition(differences: Sequence[float]) -> None:
    rates = (0.5, 1, 2, 4, 8, 16, 32)
    wealth = [math.prod(2 / (1 + math.exp(2 * rate * x)) for x in differences) for rate in rates]
    e = float(np.exp(log_e_sizes(differences)[-1])) if differences else 1.0
    assert e == pytest.approx(sum(wealth) / len(wealth))


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([-2.5, -0.1, 0.0, 0.3, 7.0]), min_size=1, max_size=30))
def test_ties_change_nothing_and_a_p_value_only_falls(differences: list[float]) -> None:
    p = sequential.p_value(differences)
    assert 0 < p <= 1
    assert p == pytest.approx(sequential.p_value([d for d in differences if d]))
    longer = [sequential.p_value(differences[:n]) for n in range(len(differences) + 1)]
    assert longer == sorted(longer, reverse=True)


@pytest.mark.parametrize("ties", [0.0, 0.4])
@pytest.mark.parametrize("level", [0.05, 0.05 / 21])
def test_seldom_rejects_what_is_true_however_often_one_looks(level: float, ties: float) -> None:
    rng = np.random.default_rng(0)
    gaps = rng.choice([-1, 1], (4000, 100)) * rng.exponential(0.3, (4000, 100)) * (rng.random((4000, 100)) >= ties)
    alarms = int((log_e_sizes(gaps).max(1) >= -np.log(level)).sum())
    assert alarms <= scipy.stats.binom.isf(1e-4, 4000, level)
    assert alarms or level < 0.01, "a test that never rejects shows nothing"


def test_losses_never_speak_for_a_claim() -> None:
    rng = np.random.default_rng(1)
    alarms = int((log_e_sizes(rng.normal(0.1, 0.4, (2000, 200))).max(1) >= -np.log(0.05)).sum())
    assert alarms <= scipy.stats.binom.isf(1e-4, 2000, 0.05)
    for n in (1, 40, 3000):
        assert sequential.p_value(np.ones(n)) == 1


@pytest.mark.parametrize(("level", "pairs"), [(0.05, 5), (0.025, 6), (1 / 32, 5), (0.05 / 21, 9)])
def test_the_fewest_pairs_are_those_of_an_unbroken_row_of_large_wins(level: float, pairs: int) -> None:
    assert sequential.fewest(level) == pairs
    assert sequential.p_value([-100.0] * pairs) <= level * (1 + 1e-9) < sequential.p_value([-100.0] * (pairs - 1))


def test_at_the_first_look_an_interval_can_exist():
    assert sequential.fewest(0.05 / 2) == sequential.FIRST


def gaps_of(logs: Sequence[float]):
    return lambda log_ratio: np.array(logs) - log_ratio


def test_a_ratio_moves_with_the_times_and_its_interval_holds_it():
    logs = [-0.9, -0.7, -0.8, -1.1, -0.6, -0.75, -0.85, -0.8]
    ratio, (low, high) = sequential.ratio(gaps_of(logs), 10.0)
    assert ratio
    assert 0 < low < ratio < high < 1
    assert ratio == pytest.approx(math.exp(np.median(logs)), rel=0.1)
    moved, ends = sequential.ratio(gaps_of([x + 0.5 for x in logs]), 10.0)
    assert (moved, *ends) == pytest.approx([x * math.exp(0.5) for x in (ratio, low, high)], rel=1e-4)
    turned, back = sequential.ratio(gaps_of([-x for x in logs]), 10.0)
    assert (turned, *back) == pytest.approx([1 / ratio, 1 / high, 1 / low], rel=1e-4)
    assert sequential.ratio(gaps_of(logs[:5]), 10.0)[1] == (0.0, math.inf), "five pairs can reject nothing"


def test_a_ratio_that_the_pairs_do_not_tell_is_none():
    """As where the candidate never gets there: the differences are never below zero."""
    ratio, (low, high) = sequential.ratio(lambda log_ratio: np.maximum(0.0, 1.0 - log_ratio) * np.ones(9), 10.0)
    assert ratio is None
    assert low > 1
    assert high == math.inf
    assert sequential.ratio(lambda log_ratio: np.zeros(9), 10.0) == (None, (0.0, math.inf))


def test_an_interval_covers_the_ratio_also_where_training_stops_as_soon_as_it_may():
    """Log ratios of mean -0.2 and deviation 0.4; it stops once earlier is shown, after 16 pairs at the latest."""
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(150):
        logs = rng.normal(-0.2, 0.4, 16)
        shown = log_e_sizes(logs) >= math.log(20)
        stop = max(6, int(shown.argmax()) + 1) if shown.any() else 16
        _, (low, high) = sequential.ratio(gaps_of(list(logs[:stop])), 10.0)
        covered += low <= math.exp(-0.2) <= high
    assert covered >= scipy.stats.binom.ppf(1e-4, 150, 0.95)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=8))
def test_bets_on_sizes_are_fair_where_every_sign_is_as_likely(differences):
    signs = sign_patterns(len(differences))
    e = np.exp(log_e_sizes(signs * np.abs(differences)))
    assert e.mean(0) == pytest.approx(np.ones(len(differences)))


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.integers(0, 19), st.floats(0, 2))
def test_bets_on_sizes_gain_by_earlier_candidates_and_at_most_double(differences, place, by):
    x = np.array(differences)
    earlier = x.copy()
    earlier[place % len(x)] -= by
    assert (log_e_sizes(earlier) >= log_e_sizes(x) - 1e-9).all()
    assert (log_e_sizes(x) <= np.log(2) * np.arange(1, len(x) + 1) + 1e-9).all()


@given(st.floats(0.05, 0.5), st.integers(1, 12))
def test_bets_on_a_share_are_fair_at_the_limit(limit, n):
    """Ones and zeros with a mean of the limit: E is 1 on average, over all outcomes with their probabilities."""
    patterns = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    chance = np.where(patterns, limit, 1 - limit).prod(1)
    e = np.exp(log_e_share(patterns.astype(float), limit))
    assert (chance[:, None] * e).sum(0) == pytest.approx(np.ones(n))


def test_bets_on_a_share_need_as_many_pairs_as_the_share_asks_for():
    reached = {limit: int((log_e_share(np.zeros(100), limit) >= np.log(20)).argmax()) + 1 for limit in (0.1, 0.25)}
    assert reached == {0.1: 35, 0.25: 13}
    assert log_e_share([1.0] * 50, 0.25)[-1] < -3


def test_an_interval_that_rejects_every_ratio_is_none():
    """A factor that drifts: no ratio was compatible with all that was seen."""
    logs = np.concatenate([np.full(16, 1.0), np.full(40, -1.0)])
    middle, interval = sequential.ratio(lambda x: logs - x, 6.0)
    assert middle is not None
    assert interval is None


def test_an_interval_only_shrinks_as_pairs_come_in():
    """What was rejected once stays out, also where later pairs point to it again."""
    rng = np.random.default_rng(4)
    logs = np.concatenate([rng.normal(-0.5, 0.2, 12), rng.normal(0.1, 0.4, 12), rng.normal(-1.0, 0.4, 12)])
    found = [sequential.ratio(lambda x, n=n: logs[:n] - x, 6.0)[1] for n in (12, 24, 36)]
    assert all(interval for interval in found)
    lows, highs = zip(*(np.round(interval, 5) for interval in found if interval), strict=True)
    assert list(lows) == sorted(lows)
    assert list(highs) == sorted(highs, reverse=True)
    assert len({*lows, *highs}) < 6, "none of them would show it"
