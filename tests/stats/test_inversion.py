"""The factor between censored times: its interval has the factors that the test does not refute, and covers."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from grokbench.claims import Comparison
from grokbench.stats import inversion
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.pairs import Evidence, Sample

FIRST = ENDPOINTS["first"]


def size(c: np.ndarray, b: np.ndarray, never: float, paired: bool = True):
    question = Comparison("a", "", "", ("b", "c"), test="first", paired=paired)
    own, other = Sample(b, b, b), Sample(c, c, c)
    gaps = FIRST.differences(b, c, never, 1.0) if paired else np.zeros(len(b))
    evidence = Evidence("cell", 0, own, other, never, gaps, (), np.arange(len(b)))
    return FIRST.size(question, [evidence], np.random.default_rng(0))


def test_without_censoring_the_ends_are_quantiles_of_the_means_of_subsets() -> None:
    gaps = np.random.default_rng(0).normal(0.3, 1, 8)
    means = sorted(
        np.mean(own) for k in range(1, 9) for own in itertools.combinations(gaps, k)
    )  # of which each lies above the true factor as often as not (Hartigan 1969)
    ratio, ends = inversion.by_signs(lambda x: gaps - x, 20.0)
    assert ratio == pytest.approx(math.exp(gaps.mean()))
    cut = math.floor(0.025 * 2**8)  # patterns, the observed one among them, that may be as extreme
    assert ends == pytest.approx((math.exp(means[cut - 1]), math.exp(means[-cut])))


def test_unpaired_ends_are_where_scipys_permutation_test_turns() -> None:
    rng = np.random.default_rng(1)
    c, b = rng.normal(0, 1, 4), rng.normal(1, 1, 5)
    _, (low, high) = inversion.by_permutations(lambda x: [(c, b + x)], 20.0)

    def p(x: float, side: str) -> float:
        def gap(one, other, axis):
            return one.mean(axis) - other.mean(axis)

        return scipy.stats.permutation_test((c, b + x), gap, alternative=side, n_resamples=np.inf).pvalue

    step = 1e-5
    assert p(math.log(low) - step, "greater") <= 0.025 < p(math.log(low) + step, "greater")
    assert p(math.log(high) + step, "less") <= 0.025 < p(math.log(high) - step, "less")


@pytest.mark.parametrize(("n", "paired"), [(8, True), (45, True), (7, False)])
def test_intervals_cover_the_factor_where_runs_never_get_there(n: int, paired: bool) -> None:
    rng, hits, total = np.random.default_rng(n), 0, 40
    for _ in range(total):
        c, b = np.exp(rng.normal([[5.0], [5.8]], 0.5, (2, n)))
        c, b = (np.minimum(np.where(rng.random(n) < 0.2, np.inf, t), 1001.0) for t in (c, b))
        low, high = size(c, b, 1001.0, paired)[1] or (0, math.inf)
        hits += low <= math.exp(-0.8) <= high
    assert hits >= 36


def test_fewer_than_six_pairs_with_a_run_that_never_got_there_have_no_interval() -> None:
    b, c = np.array([300.0, 310, 320, 330, 1001]), np.array([100.0, 110, 120, 130, 140])
    ratio, ends = size(c, b, 1001.0)
    assert ratio is not None
    assert ends == (0, math.inf)


def test_an_arm_that_never_gets_there_leaves_one_end() -> None:
    never, c = np.full(8, 1001.0), np.arange(100.0, 180, 10)
    ratio, (low, high) = size(c, never, 1001.0)
    assert (ratio, low) == (None, 0)
    assert 0.1 < high < 0.18, "the baseline takes more than 1000, the candidate some 130"
    ratio, (low, high) = size(never, c, 1001.0)
    assert (ratio, high) == (None, math.inf)


def test_pairs_that_are_all_alike_have_no_interval() -> None:
    same = np.full(8, 100.0)
    assert size(same, same, 1001.0) == (1.0, None)
