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
from scipy import stats

Floats = NDArray[np.float64]
Interval = tuple[float, float]

EXACT_BLOCKS = 16  # 2^16 sign patterns are enumerated; above, they are sampled
RESAMPLES = 99_999
BOOTSTRAPS = 4_999


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


def shuffle(candidate: Sequence[Floats], baseline: Sequence[Floats], rng: np.random.Generator) -> tuple[float, float]:
    """The same two p-values for unpaired samples (n,) and (m,) of several cells: arms are dealt anew within each cell.

    The statistic is the sum over cells of the difference of means (Fisher 1935), from 99 999 random deals.
    """
    observed, dealt = 0.0, np.zeros(RESAMPLES)
    for c, b in zip(candidate, baseline, strict=True):
        both, n = np.concatenate([c, b]), len(c)
        observed += c.mean() - b.mean()
        for start in range(0, RESAMPLES, 10_000):
            part = dealt[start : start + 10_000]
            mixed = rng.permuted(np.broadcast_to(both, (len(part), len(both))), axis=1)
            part += mixed[:, :n].mean(1) - mixed[:, n:].mean(1)
    slack = 1e-12 * max(1.0, abs(observed))  # sums in another order differ in their last bits
    tails = ((dealt <= observed + slack).sum(), (dealt >= observed - slack).sum())
    return float((tails[0] + 1) / (RESAMPLES + 1)), float((tails[1] + 1) / (RESAMPLES + 1))


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
    """Studentised paired bootstrap interval (Efron and Tibshirani 1993, chapter 12) of `restricted_ratio`.

    The replicas of each task are resampled together. The standard error is that of the linearised log ratio. One
    pair gives no interval, (0, ∞).
    """
    cells = sum(len(c) for c in candidate)
    estimate, error, drawn, errors = 0.0, 0.0, np.zeros(BOOTSTRAPS), np.zeros(BOOTSTRAPS)
    for c, b in zip(candidate, baseline, strict=True):
        n = c.shape[1]
        if n < 2:
            return 0.0, np.inf
        weights = np.vstack([np.ones(n), rng.multinomial(n, [1 / n] * n, size=BOOTSTRAPS)])  # the data themselves first
        trained = np.isfinite(c)
        x, y = np.where(trained, c, 0), np.where(trained, b, 0)
        log, influence = np.zeros(len(weights)), np.zeros((len(weights), n))
        for s in range(len(c)):
            count = np.maximum(weights @ trained[s], 1e-300)  # a resample may have none of a cell's replicas
            mean_x, mean_y = weights @ x[s] / count, weights @ y[s] / count
            with np.errstate(divide="ignore", invalid="ignore"):
                log += np.log(mean_x) - np.log(mean_y)
                gap = x[s] / mean_x[:, None] - y[s] / mean_y[:, None]
            influence += np.where(trained[s], gap, 0) * (n / count)[:, None]
        squares = (weights * influence**2).sum(1) / (n * (n - 1))
        estimate, drawn = estimate + log[0], drawn + log[1:]
        error, errors = error + squares[0], errors + squares[1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (drawn - estimate) / np.sqrt(errors)
    t = np.where(np.isclose(drawn, estimate, rtol=0, atol=1e-12), 0, t)
    t = t[~np.isnan(t)]
    high, low = np.quantile(t, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf")  # may be infinite
    error = np.sqrt(error)
    if not error:
        low = high = 0.0
    with np.errstate(over="ignore"):
        return float(np.exp((estimate - low * error) / cells)), float(np.exp((estimate - high * error) / cells))


def rate_difference(
    candidate: Sequence[Floats], baseline: Sequence[Floats], level: float = 0.95
) -> tuple[float, Interval]:
    """Difference of the shares that grokked, from 0s and 1s (S, n), with its interval.

    One cell: Newcombe's interval for paired proportions (1998, Statistics in Medicine 17, 2635, method 10), which
    has the right width where all or none grokked. Several: Student's interval over blocks.
    """
    gaps = [np.nanmean(c - b, 0) for c, b in zip(candidate, baseline, strict=True)]
    blocks = np.concatenate(gaps)
    estimate = float(np.mean(np.concatenate([np.nanmean(c - b, 1) for c, b in zip(candidate, baseline, strict=True)])))
    if sum(len(c) for c in candidate) > 1:
        if len(blocks) < 2:
            return estimate, (-1.0, 1.0)
        half = stats.t.ppf((1 + level) / 2, len(blocks) - 1) * blocks.std(ddof=1) / np.sqrt(len(blocks))
        return estimate, (max(-1.0, estimate - float(half)), min(1.0, estimate + float(half)))
    x, y = candidate[0][0], baseline[0][0]
    trained = np.isfinite(x)
    return estimate, _newcombe(x[trained] == 1, y[trained] == 1, level)


def _newcombe(x: NDArray[np.bool_], y: NDArray[np.bool_], level: float) -> Interval:
    n = len(x)
    p, q = x.mean(), y.mean()
    (l1, u1), (l2, u2) = (
        stats.binomtest(int(v.sum()), n).proportion_ci(confidence_level=level, method="wilson") for v in (x, y)
    )
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


def logrank(
    candidate: Sequence[tuple[Floats, NDArray[np.bool_]]], baseline: Sequence[tuple[Floats, NDArray[np.bool_]]]
) -> float:
    """Two-sided p-value of the log-rank test, stratified by cell (Mantel 1966); each element is times and events (n,).

    It takes the arms as independent, so it is a secondary figure here. 1 where no time tells the arms apart.
    """
    excess = variance = 0.0
    for (tc, ec), (tb, eb) in zip(candidate, baseline, strict=True):
        for t in np.unique(np.concatenate([tc[ec], tb[eb]])):
            risk_c, risk = (tc >= t).sum(), (tc >= t).sum() + (tb >= t).sum()
            events = (tc[ec] == t).sum() + (tb[eb] == t).sum()
            excess += (tc[ec] == t).sum() - events * risk_c / risk
            if risk > 1:
                variance += events * (risk_c / risk) * (1 - risk_c / risk) * (risk - events) / (risk - 1)
    return float(stats.chi2.sf(excess**2 / variance, 1)) if variance else 1.0


def deviations(candidate: Floats, baseline: Floats, never: float) -> Floats:
    """(n,) how much farther from its arm's median the candidate is than the baseline, pair by pair, in one cell.

    In units of both arms' mean distance, so that cells can be added up. A run that did not grok lies at least as far
    out as `never`; a pair of two such is a tie, and so is everything where an arm's median is one. Flipping their
    signs tests for equal spread about the medians, as Brown and Forsythe (1974) do with unpaired arms.
    """
    medians = np.nanmedian(candidate), np.nanmedian(baseline)
    if max(medians) >= never:
        return np.where(np.isnan(candidate), np.nan, 0.0)
    c, b = abs(candidate - medians[0]), abs(baseline - medians[1])
    gaps = np.where((candidate >= never) & (baseline >= never), 0.0, c - b)
    scale = (np.nanmean(c) + np.nanmean(b)) / 2
    return np.asarray(gaps / scale if scale else gaps)


def interaction(effects: Sequence[Floats], rng: np.random.Generator) -> float:
    """p-value that the effect, here log ratios (S, n) of each task, is the same under every softmax.

    Softmaxes are dealt anew within each block; the statistic is the variance of their means.
    """
    blocks = np.concatenate([e.T for e in effects])
    blocks = blocks[np.isfinite(blocks).all(1)]
    observed, extreme = blocks.mean(0).var(), 1
    total = 9_999
    for start in range(0, total, 1_000):
        count = min(1_000, total - start)
        dealt = rng.permuted(np.broadcast_to(blocks, (count, *blocks.shape)), axis=2)
        extreme += int((dealt.mean(1).var(1) >= observed - 1e-12).sum())
    return extreme / (total + 1)


def median(times: Floats, reached: NDArray[np.bool_]) -> float | None:
    """Median time with the runs that did not grok as later than any; None if the median is among those."""
    value = float(np.median(np.where(reached, times, np.inf)))
    return value if np.isfinite(value) else None
