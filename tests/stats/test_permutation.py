"""Permutation tests where every pattern can be counted: equal to scipy's, and moved by no order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from grokbench.stats import permutation

DRAWS = np.random.default_rng(0)


def scipys(c: np.ndarray, b: np.ndarray, side: str) -> float:
    def gap(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return x.mean(axis) - y.mean(axis)

    found = scipy.stats.permutation_test((c, b), gap, alternative=side, n_resamples=np.inf, vectorized=True)
    return float(found.pvalue)


@pytest.mark.parametrize(("n", "m", "ties"), [(3, 3, False), (2, 5, False), (6, 3, True), (3, 6, False), (5, 5, True)])
def test_unpaired_p_is_the_enumeration_of_deals(n: int, m: int, ties: bool) -> None:
    rng = np.random.default_rng(n * 10 + m)
    both = rng.integers(1, 4, n + m).astype(float) if ties else rng.normal(0, 1, n + m)
    c, b = both[:n], both[n:]
    less, greater = permutation.shuffle([c], [b])
    assert less == pytest.approx(scipys(c, b, "less"), abs=1e-12)
    assert greater == pytest.approx(scipys(c, b, "greater"), abs=1e-12)


def test_the_smallest_unpaired_p_is_one_deal() -> None:
    early, late = np.log([100.0, 110, 120]), np.log([300.0, 310, 290])
    assert permutation.shuffle([early], [late])[0] == 1 / 20
    assert permutation.shuffle([early, early], [late, late])[0] == 1 / 400


def test_large_arms_are_drawn_and_no_order_moves_their_p() -> None:
    rng = np.random.default_rng(4)
    c, b = rng.normal(-0.5, 1, 14), rng.normal(0, 1, 14)
    assert math.comb(28, 14) > permutation.EXACT_DEALS
    once = permutation.shuffle([c, b], [b, c + 1])
    assert once == permutation.shuffle([b[::-1], c], [c[::-1] + 1, b])


def all_signs(differences: np.ndarray) -> tuple[float, float]:
    """Both p-values by going through all patterns, sum by sum."""
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    observed = differences.sum()
    return float((sums <= observed + 1e-9).mean()), float((sums >= observed - 1e-9).mean())


@pytest.mark.parametrize("n", range(2, 21))
@pytest.mark.parametrize("kind", ["numbers", "ties and zeros"])
def test_paired_p_is_the_enumeration_of_signs(n: int, kind: str) -> None:
    rng = np.random.default_rng(n)
    differences = rng.normal(-0.3, 1, n) if kind == "numbers" else rng.integers(-2, 3, n).astype(float)
    ours, expected = permutation.sign_flip(differences, DRAWS), all_signs(differences)
    assert ours == pytest.approx(expected, abs=1e-12, rel=0)
    if n <= 8:
        found = [
            scipy.stats.permutation_test(
                (differences,), np.mean, permutation_type="samples", alternative=side, n_resamples=np.inf
            ).pvalue
            for side in ("less", "greater")
        ]
        assert ours == pytest.approx(tuple(found), abs=1e-12, rel=0)


@pytest.mark.parametrize("n", range(2, 21))
def test_unpaired_p_of_so_many_runs_is_the_enumeration_of_deals(n: int) -> None:
    rng, c = np.random.default_rng(n), n // 2
    values = rng.integers(0, 6, n) / 3.0 if n % 2 else rng.normal(0, 1, n)
    permuted = np.zeros((math.comb(n, c), n), dtype=bool)
    np.put_along_axis(permuted, np.array(list(itertools.combinations(range(n), c))), True, axis=1)
    means = permuted @ values * (1 / c + 1 / (n - c))  # but for a constant
    less, greater = permutation.shuffle([values[:c]], [values[c:]])
    assert less == pytest.approx((means <= means[0] + 1e-9).mean(), abs=1e-12, rel=0)
    assert greater == pytest.approx((means >= means[0] - 1e-9).mean(), abs=1e-12, rel=0)


def test_many_runs_have_the_p_that_draws_come_close_to(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    gaps = rng.normal(-0.04, 1, 1001)
    c, b = rng.gamma(3, 0.9, 200), rng.gamma(3, 1.0, 801)
    smooth = *permutation.sign_flip(gaps, DRAWS), *permutation.shuffle([c], [b])
    monkeypatch.setattr(permutation, "MANY", 2000)
    monkeypatch.setattr(permutation, "RESAMPLES", 9999)
    drawn = *permutation.sign_flip(gaps, DRAWS), *permutation.shuffle([c], [b])
    assert smooth == pytest.approx(drawn, abs=0.012)
    assert 0.001 < min(smooth) < 0.2, "there is something to agree on"


@pytest.mark.parametrize("n", [17, 24])
def test_sign_flips_above_sixteen_blocks_are_a_convolution_of_ranks(n: int) -> None:
    ranks = np.arange(1, n + 1.0) * np.where(np.random.default_rng(n).random(n) < 0.7, -1, 1)
    counts = np.ones(1)
    for rank in range(1, n + 1):  # of the sums of positive ranks, Wilcoxon's distribution
        counts = np.convolve(counts, np.concatenate([[1], np.zeros(rank - 1), [1]]))
    positive = int(ranks[ranks > 0].sum())
    less, greater = permutation.sign_flip(ranks, DRAWS)
    assert less == pytest.approx(counts[: positive + 1].sum() / 2**n, abs=1e-12)
    assert greater == pytest.approx(counts[positive:].sum() / 2**n, abs=1e-12)
    assert (less, greater) == permutation.sign_flip(ranks[::-1], np.random.default_rng(1))


def test_ties_make_no_difference_and_more_than_forty_blocks_keep_their_p_in_any_order() -> None:
    differences = np.random.default_rng(3).normal(-0.2, 1, 41)
    once = permutation.sign_flip(differences, np.random.default_rng(0))
    again = permutation.sign_flip(np.append(differences[::-1], [0.0, 0.0]), np.random.default_rng(0))
    assert once == again
