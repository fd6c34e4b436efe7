"""Intervals of few pairs cover, and there is none where nothing tells how wide it is."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from grokbench.stats import paired


@pytest.mark.parametrize("n", [2, 3, 4])
def test_intervals_of_few_pairs_cover_as_often_as_they_say(n: int) -> None:
    rng, hits, total = np.random.default_rng(n), 0, 400
    for _ in range(total):
        c, b = np.exp(rng.normal(0, 0.3, (2, 1, n)))
        low, high = paired.ratio_interval([c], [b], rng)
        hits += low <= 1 <= high
    assert hits / total > 0.92


def test_cells_of_one_pair_each_have_an_interval_of_some_width() -> None:
    nan = np.nan
    c = np.array([[20, nan, nan], [nan, 15, nan], [nan, nan, 21.0]])
    b = np.where(np.isfinite(c), 100.0, nan)
    low, high = paired.ratio_interval([c], [b], np.random.default_rng(0))
    mean, half = np.log([0.20, 0.15, 0.21]).mean(), 4.302653 * np.log([0.20, 0.15, 0.21]).std(ddof=1) / np.sqrt(3)
    assert (low, high) == pytest.approx((np.exp(mean - half), np.exp(mean + half)))


@pytest.mark.parametrize("pairs", [1, 3])
def test_pairs_without_any_spread_have_no_interval(pairs: int) -> None:
    same = np.full((1, pairs), 1000.0)
    assert paired.ratio_interval([same], [same], np.random.default_rng(0)) == (0, np.inf)


@pytest.mark.parametrize("n", [5, 6])
def test_up_to_six_pairs_have_students_interval_of_log_ratios(n: int) -> None:
    rng = np.random.default_rng(n)
    c, b = np.exp(rng.normal([[5.0], [5.8]], 0.4, (2, n)))
    low, high = paired.ratio_interval([c[None]], [b[None]], rng)
    gaps = np.log(c / b)
    half = scipy.stats.t.ppf(0.975, n - 1) * gaps.std(ddof=1) / np.sqrt(n)
    centre = np.log(c.mean() / b.mean())
    assert (low, high) == pytest.approx((np.exp(centre - half), np.exp(centre + half)))
