"""The e-process against its definition, and under its own null hypothesis."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench.stats import sequential
from grokbench.stats.permutation import sign_patterns
from grokbench.stats.sequential import log_e, log_e_share, log_e_sizes


def mixture(wins: int, losses: int) -> float:
    """E from its definition: the likelihood ratio against one half, averaged over the Beta prior above one half."""
    prior = scipy.stats.beta(sequential.WINS, sequential.LOSSES)
    # q = 1 - u², so that the prior's pole at 1 is gone
    value, _ = scipy.integrate.quad(
        lambda u: (2 * (1 - u * u)) ** wins * (2 * u * u) ** losses * prior.pdf(1 - u * u) * 2 * u, 0, np.sqrt(0.5)
    )
    return value / prior.sf(0.5)


@pytest.mark.parametrize(("wins", "losses"), [(0, 0), (1, 0), (5, 0), (3, 2), (10, 1), (2, 6)])
def test_equals_the_definition(wins: int, losses: int) -> None:
    signs = [-1.0] * wins + [1.0] * losses
    e = float(np.exp(sequential.log_e(signs)[-1])) if signs else 1.0
    assert e == pytest.approx(mixture(wins, losses), rel=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([-2.5, -0.1, 0.0, 0.3, 7.0]), min_size=1, max_size=30))
def test_only_signs_count_and_ties_change_nothing(differences: list[float]) -> None:
    p = sequential.p_value(differences)
    assert 0 < p <= 1
    assert p == sequential.p_value(np.sign(differences))
    moved = [d for d in differences if d]
    assert p == pytest.approx(sequential.p_value(moved))
    longer = [sequential.p_value(differences[:n]) for n in range(len(differences) + 1)]
    assert longer == sorted(longer, reverse=True), "a p-value that may be looked at any time only falls"


@pytest.mark.parametrize("n", [1, 4, 9])
def test_is_1_on_average_over_all_fair_signs(n: int) -> None:
    every = np.array(list(itertools.product([-1, 1], repeat=n)))
    assert np.exp(sequential.log_e(every)[:, -1]).mean() == pytest.approx(1)


@pytest.mark.parametrize("ties", [0.0, 0.4])
@pytest.mark.parametrize("level", [0.05, 0.05 / 21])
def test_seldom_rejects_what_is_true_however_often_one_looks(level: float, ties: float) -> None:
    rng = np.random.default_rng(0)
    signs = rng.choice([-1, 1], (5000, 200)) * (rng.random((5000, 200)) >= ties)
    alarms = int((sequential.log_e(signs).max(1) >= -np.log(level)).sum())
    assert alarms <= scipy.stats.binom.isf(1e-4, 5000, level)
    assert alarms or level < 0.01, "a test that never rejects shows nothing"


@pytest.mark.parametrize("win", [0.0, 0.1, 0.3, 0.45])
def test_losses_never_speak_for_a_claim(win: float) -> None:
    """The hypothesis is that a win has a probability of at most one half, not that it has one half."""
    rng = np.random.default_rng(1)
    signs = np.where(rng.random((2000, 400)) < win, -1, 1)
    alarms = int((sequential.log_e(signs).max(1) >= -np.log(0.05)).sum())
    assert alarms <= scipy.stats.binom.isf(1e-4, 2000, 0.05)


def test_a_row_of_losses_is_no_evidence_however_long() -> None:
    for n in (1, 40, 3000):
        assert sequential.p_value(np.ones(n)) == 1


@pytest.mark.parametrize(("level", "pairs"), [(0.05, 5), (0.05 / 21, 10)])
def test_the_first_look_is_the_first_that_can_decide(level: float, pairs: int) -> None:
    assert sequential.fewest(level) == pairs
    assert sequential.p_value([-1] * pairs) <= level < sequential.p_value([-1] * (pairs - 1))
    looks = sequential.stages(level, 16)
    assert looks[0] == pairs
    assert looks[-1] == 16
    assert list(looks) == sorted(set(looks))
    assert sequential.stages(level, 3) == (3,)


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


def test_bets_on_sizes_need_fewer_pairs_than_bets_on_signs_where_effects_are_small():
    rng = np.random.default_rng(0)
    x = rng.normal(-0.15, 0.3, (200, 60))
    reached = [np.mean(log_e(x).max(1) >= np.log(20)), np.mean(log_e_sizes(x).max(1) >= np.log(20))]
    assert reached[1] > reached[0] + 0.2


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
