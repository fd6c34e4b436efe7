"""Paired statistics of censored times with a common budget. Arrays in, numbers out; knows nothing of runs.

Times are restricted: min(T, budget + 1), so budget + 1 for a run that did not grok. A pair in which both did not is
a tie, and a pair in which one did not is a loss for that one.

Shapes: n pairs. A *block* is what shares a random stream, here one replica of one task under every softmax; its
pairs are not independent, so they are flipped and resampled together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

EXACT_BLOCKS = 16  # 2^16 sign patterns are enumerated; above, they are sampled
RESAMPLES = 99_999
BOOTSTRAPS = 9_999


def sign_flip(differences: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """One-sided p-values that differences (n,) tend to be negative, and that they tend to be positive.

    The statistic is the mean; under the hypothesis that the arms are exchangeable within a pair every pattern
    of signs is equally likely (Fisher 1935). Exact up to 16 pairs, else from 99 999 random patterns, of which
    the observed one counts as one more.
    """
    resamples = np.inf if len(differences) <= EXACT_BLOCKS else RESAMPLES
    if len(differences) == 1:  # scipy wants two; a tie more changes no p-value
        differences = np.append(differences, 0.0)
    zeros = np.zeros(len(differences))

    def mean(a: Floats, b: Floats, axis: int) -> Floats:
        return np.mean(a - b, axis=axis)  # type: ignore[no-any-return]

    p = [
        stats.permutation_test(
            (differences, zeros),
            mean,
            permutation_type="samples",
            alternative=side,
            n_resamples=resamples,
            batch=10_000,
            rng=rng,
            vectorized=True,
        ).pvalue
        for side in ("less", "greater")
    ]
    return float(p[0]), float(p[1])


def holm(p: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment: reject where the adjusted p is at most the level."""
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.asarray(p)[order] * factors), 1)
    return [float(a) for a in adjusted]


def restricted_ratio(candidate: Sequence[Floats], baseline: Sequence[Floats]) -> float:
    """Ratio of restricted mean times, below 1 where the candidate is earlier.

    Each element is one task's times (S, n) for S softmaxes and n replicas. The ratios of several cells are
    averaged geometrically.
    """
    return float(np.exp(np.mean(np.concatenate([_log_ratios(c, b) for c, b in zip(candidate, baseline, strict=True)]))))


def _log_ratios(candidate: Floats, baseline: Floats) -> Floats:
    return np.log(candidate.mean(-1)) - np.log(baseline.mean(-1))  # type: ignore[no-any-return]


def ratio_interval(
    candidate: Sequence[Floats], baseline: Sequence[Floats], rng: np.random.Generator, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval (Efron 1979) of `restricted_ratio`, resampling the replicas of each task.

    With few replicas it covers the truth less often than `level` says, as percentile intervals do.
    """
    ratios = []
    for c, b in zip(candidate, baseline, strict=True):
        chosen = rng.integers(c.shape[-1], size=(BOOTSTRAPS, c.shape[-1]))
        ratios.append(_log_ratios(c[:, chosen], b[:, chosen]))  # (S, BOOTSTRAPS)
    means = np.exp(np.concatenate(ratios).mean(0))
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def median(times: Floats, reached: NDArray[np.bool_]) -> float | None:
    """Median time with the runs that did not grok as later than any; None if the median is among those."""
    value = float(np.median(np.where(reached, times, np.inf)))
    return value if np.isfinite(value) else None
