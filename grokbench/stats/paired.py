"""Paired statistics of censored times with a common budget. Arrays in, numbers out; knows nothing of runs.

Times are restricted: min(T, budget + 1), so budget + 1 for a run that did not grok. A pair in which both did not is
a tie, and a pair in which one did not is a loss for that one.

Shapes: S cells that share random streams (the softmaxes of one task), n pairs; NaN where a pair was not trained. A
*block* is what shares a random stream, here one replica of one task under every softmax; its pairs are not
independent, so they are flipped and resampled together. Several tasks are sequences of such arrays.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Interval = tuple[float, float]

SWAPS = 5_000  # the first of them as observed
BOOTSTRAPS = 4_999
BOOTSTRAP_BLOCKS = (
    7  # of fewer, resamples are too alike: intervals of 2, 3, 4, 6 pairs cover 62, 82, 90, 91 % of a nominal 95
)
BOOTSTRAP_MOST = 40  # of more, resampling only takes longer than Student's interval by the delta method


def holm(p: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment: reject where the adjusted p is at most the level."""
    order = np.argsort(p, kind="stable")
    factors = len(p) - np.arange(len(p))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(np.asarray(p)[order] * factors), 1)
    return [float(a) for a in adjusted]


def restricted_ratio(candidate: Sequence[Floats], baseline: Sequence[Floats]) -> float:
    """Ratio of restricted mean times, below 1 where the candidate is earlier.

    Each element is one task's times (S, n). The ratios of several cells are averaged geometrically.
    """
    ratios = [np.log(np.nanmean(c, 1)) - np.log(np.nanmean(b, 1)) for c, b in zip(candidate, baseline, strict=True)]
    return float(np.exp(np.mean(np.concatenate(ratios))))


def ratio_interval(
    candidate: Sequence[Floats], baseline: Sequence[Floats], rng: np.random.Generator, level: float = 0.95
) -> Interval:
    """Expanded percentile bootstrap interval of `restricted_ratio`, after Hesterberg 2015 (arXiv 1411.5279).

    The replicas of each task are resampled together. Percentile intervals of few replicas are too narrow, so deviations
    are drawn out by √(n/(n−1)) in each task, and quantiles taken so far out that the interval of a mean of normal
    numbers would be Student's. (Studentised intervals cover about as often, but with six replicas their ends can be
    absurd.) Where a task has fewer than seven replicas, or a cell fewer than two pairs, resampling covers too seldom,
    and `_student` takes over; above forty `_delta` does. One block gives no interval, (0, ∞), and neither do pairs that
    are all alike where Student's is taken.
    """
    if any(c.shape[1] < BOOTSTRAP_BLOCKS or np.isfinite(c).sum(1).min() < 2 for c in candidate):
        return _student(candidate, baseline, level)
    if max(c.shape[1] for c in candidate) > BOOTSTRAP_MOST:
        return _delta(candidate, baseline, level)
    freedom, drawn, estimate, cells = 0, np.zeros(BOOTSTRAPS), 0.0, 0
    for c, b in zip(candidate, baseline, strict=True):
        n = c.shape[1]
        freedom, cells = freedom + n - 1, cells + len(c)
        weights = rng.multinomial(n, [1 / n] * n, size=BOOTSTRAPS)
        for x, y in zip(c, b, strict=True):
            trained = np.isfinite(x)
            own = weights[:, trained]
            own[own.sum(1) == 0] = 1  # a resample without any of a cell's replicas takes all of them
            log = np.log(x[trained].mean()) - np.log(y[trained].mean())
            drawn += (np.log(own @ x[trained]) - np.log(own @ y[trained]) - log) * np.sqrt(n / (n - 1))
            estimate += log
    reach = special.stdtrit(freedom, (1 + level) / 2)
    low, high = np.exp((estimate + np.quantile(drawn, special.ndtr([-reach, reach]))) / cells)
    return float(low), float(high)


def _student(candidate: Sequence[Floats], baseline: Sequence[Floats], level: float) -> Interval:
    """Student's interval about `restricted_ratio`, its spread that of the blocks' mean log ratios of pairs."""
    half = _half([np.log(c) - np.log(b) for c, b in zip(candidate, baseline, strict=True)], level)
    centre = np.log(restricted_ratio(candidate, baseline))
    return float(np.exp(centre - half)), float(np.exp(centre + half))


def _delta(candidate: Sequence[Floats], baseline: Sequence[Floats], level: float) -> Interval:
    """Student's interval about `restricted_ratio` by the delta method, for many pairs."""
    shares = [
        c / np.nanmean(c, 1, keepdims=True) - b / np.nanmean(b, 1, keepdims=True)
        for c, b in zip(candidate, baseline, strict=True)
    ]
    half, centre = _half(shares, level), np.log(restricted_ratio(candidate, baseline))
    return float(np.exp(centre - half)), float(np.exp(centre + half))


def mean_difference(differences: Sequence[Floats], level: float = 0.95) -> tuple[float, Interval]:
    """Mean over cells of the mean differences of pairs (S, n) of each task, with Student's interval over blocks."""
    centre, half = float(np.mean(np.concatenate([np.nanmean(d, 1) for d in differences]))), _half(differences, level)
    return centre, (centre - half, centre + half)


def _half(effects: Sequence[Floats], level: float) -> float:
    """Half the width of Student's interval of the mean over cells of the means of effects (S, n) of each task.

    A block weighs what its pairs weigh in the mean over cells. ∞ where there is one block, or none differs.
    """
    cells = sum(map(len, effects))
    means, weights = [], []
    for effect in effects:
        trained = np.isfinite(effect)
        used = trained.any(0)
        means.append(np.nansum(effect, 0)[used] / trained.sum(0)[used])
        weights.append((trained / trained.sum(1, keepdims=True)).sum(0)[used] / cells)
    mean, weight = np.concatenate(means), np.concatenate(weights)
    if len(mean) < 2 or np.ptp(mean) <= 1e-12 * abs(mean).max():
        return np.inf
    return float(special.stdtrit(len(mean) - 1, (1 + level) / 2) * mean.std(ddof=1) * np.sqrt((weight**2).sum()))


def rate_difference(
    candidate: Sequence[Floats], baseline: Sequence[Floats], level: float = 0.95
) -> tuple[float, Interval]:
    """Difference of the shares that grokked, from 0s and 1s (S, n), with its interval.

    One cell: Newcombe's interval for paired proportions (1998, Statistics in Medicine 17, 2635, method 10), which
    has the right width where all or none grokked. Several: Student's interval over blocks, or Newcombe's of the
    blocks where these are all alike.
    """
    gaps = np.concatenate([np.nanmean(c - b, 0) for c, b in zip(candidate, baseline, strict=True)])
    if len(candidate) == 1 and len(candidate[0]) == 1:
        x, y = candidate[0][0], baseline[0][0]
        trained = np.isfinite(x)
        return float(gaps[trained].mean()), _newcombe(x[trained] == 1, y[trained] == 1, level)
    estimate = float(gaps.mean())
    if len(gaps) < 2 or not gaps.std():
        return estimate, _newcombe(gaps > 0, gaps < 0, level) if estimate in (-1, 0, 1) else (-1.0, 1.0)
    half = special.stdtrit(len(gaps) - 1, (1 + level) / 2) * gaps.std(ddof=1) / np.sqrt(len(gaps))
    return estimate, (max(-1.0, estimate - float(half)), min(1.0, estimate + float(half)))


def _newcombe(x: NDArray[np.bool_], y: NDArray[np.bool_], level: float) -> Interval:
    n = len(x)
    p, q = x.mean(), y.mean()
    (l1, u1), (l2, u2) = (_wilson(float(share), n, level) for share in (p, q))
    a, b, c, d = (x & y).sum(), (x & ~y).sum(), (~x & y).sum(), (~x & ~y).sum()
    margins = float((a + b) * (c + d) * (a + c) * (b + d))
    product = float(a * d - b * c)
    if product > n / 2:
        product -= n / 2
    elif product >= 0:
        product = 0.0
    phi = product / np.sqrt(margins) if margins else 0.0
    low = np.sqrt((p - l1) ** 2 - 2 * phi * (p - l1) * (u2 - q) + (u2 - q) ** 2)
    high = np.sqrt((u1 - p) ** 2 - 2 * phi * (u1 - p) * (q - l2) + (q - l2) ** 2)
    return float(p - q - low), float(p - q + high)


def _wilson(share: float, n: int, level: float) -> Interval:
    """Wilson's interval (1927) of a proportion."""
    z2 = float(special.ndtri((1 + level) / 2)) ** 2
    centre, half = share + z2 / (2 * n), np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2)))
    low, high = float((centre - half) / (1 + z2 / n)), float((centre + half) / (1 + z2 / n))
    return (0.0 if share == 0 else low, 1.0 if share == 1 else high)


def logrank(
    candidate: Sequence[tuple[Floats, NDArray[np.bool_]]], baseline: Sequence[tuple[Floats, NDArray[np.bool_]]]
) -> float:
    """Two-sided p-value of the log-rank test, stratified by cell (Mantel 1966); each element is times and events (n,).

    It takes the arms as independent, so it is a secondary figure here. 1 where no time tells the arms apart.
    """
    excess = variance = 0.0
    for (tc, ec), (tb, eb) in zip(candidate, baseline, strict=True):
        times = np.unique(np.concatenate([tc[ec], tb[eb]]))
        risk_c, risk_b = (len(t) - np.searchsorted(np.sort(t), times) for t in (tc, tb))
        events_c, events_b = (
            np.diff(np.searchsorted(np.sort(t[e]), np.append(times, np.inf))) for t, e in ((tc, ec), (tb, eb))
        )
        risk, events = risk_c + risk_b, events_c + events_b
        share = risk_c / risk
        excess += float((events_c - events * share).sum())
        variance += float((events * share * (1 - share) * (risk - events) / np.maximum(risk - 1, 1)).sum())
    return float(special.chdtrc(1, excess**2 / variance)) if variance else 1.0


def spread(
    candidate: Sequence[Floats], baseline: Sequence[Floats], never: Sequence[Sequence[float]], rng: np.random.Generator
) -> tuple[float, float]:
    """One-sided p-values that the candidate's times lie closer to their median than the baseline's, and farther.

    Only times before the median count, since the budget cuts the others: an arm that piles up against it is not
    tighter. A cell in which a run did not grok says nothing, for the median may be hidden. Arms are swapped at random
    within blocks, as if they were exchangeable; distances are from each arm's median (Brown and Forsythe 1974), which
    is taken anew for every pattern. So the test is exact where the arms do not differ. Where they differ in their
    medians alone it is about right for log-normal times; for heavy tails it rejects too often. The
    statistic adds up the cells' differences of mean distances over their sum. From 4 999 random patterns.
    """
    swapped = np.zeros(SWAPS)
    for task_c, task_b, ends in zip(candidate, baseline, never, strict=True):
        masks = rng.integers(0, 2, (SWAPS, task_c.shape[1])).astype(bool)
        masks[0] = False  # as it is
        for c, b, end in zip(task_c, task_b, ends, strict=True):
            trained = np.isfinite(c)
            x, y = c[trained], b[trained]
            if max(x.max(), y.max()) < end:
                own = masks[:, trained]
                one, other = (distance_before(times) for times in (np.where(own, y, x), np.where(own, x, y)))
                swapped += (one - other) / np.maximum(one + other, 1e-12)
    slack = 1e-9 * max(1.0, abs(swapped[0]))
    return float((swapped <= swapped[0] + slack).mean()), float((swapped >= swapped[0] - slack).mean())


def distance_before(times: Floats) -> Floats:
    """(...,) the mean over times (..., n) of how far each lies before their median; those after it count as 0."""
    return np.asarray(np.maximum(np.median(times, axis=-1, keepdims=True) - times, 0.0).mean(-1))


def interaction(effects: Sequence[Floats], rng: np.random.Generator) -> float:
    """p-value that the effect, here log ratios (S, n) of each task, is the same under every softmax.

    Softmaxes are permuted anew within each block; the statistic is the variance of their means.
    """
    blocks = np.concatenate([e.T for e in effects])
    blocks = blocks[np.isfinite(blocks).all(1)]
    observed, extreme = blocks.mean(0).var(), 1
    total = 9_999
    for start in range(0, total, 1_000):
        count = min(1_000, total - start)
        permuted = rng.permuted(np.broadcast_to(blocks, (count, *blocks.shape)), axis=2)
        extreme += int((permuted.mean(1).var(1) >= observed - 1e-12).sum())
    return extreme / (total + 1)


def median(times: Floats, reached: NDArray[np.bool_]) -> float | None:
    """Median time with the runs that did not grok as later than any; None if the median is among those."""
    value = float(np.median(np.where(reached, times, np.inf)))
    return value if np.isfinite(value) else None
