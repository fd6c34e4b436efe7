"""Permutation tests of the mean: exact where all patterns can be counted, else drawn. No order of input moves a p."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from grokbench.stats.paired import Floats

PATTERNS_BLOCKS = 16  # 2^16 sign patterns are held as a matrix
EXACT_BLOCKS = 40  # of which each half has 2^20 sums
EXACT_DEALS = 2**21  # in each of two groups of cells
RESAMPLES = 99_999
CHUNK = 10_000
LARGE = 200  # pairs above which drawing takes time
PLAIN = (
    2_500  # drawn patterns at least as extreme on either side, after which neither p can be small: no more are drawn
)
AT_ONCE = 2 * 10**7  # numbers that are held for drawn deals


def sign_flip(differences: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """One-sided p-values that differences (n,) tend to be negative, and that they tend to be positive.

    The statistic is the mean; under the hypothesis that the arms are exchangeable within a pair every pattern
    of signs is equally likely (Fisher 1935). Exact up to 40 pairs that differ, above 16 by meeting in the middle
    (Horowitz and Sahni 1974); else from 99 999 random patterns, of which the observed one counts as one more.
    """
    differences = np.sort(differences[differences != 0])  # a tie has the same sum under either sign
    observed, n = differences.sum(), len(differences)
    slack = 1e-12 * abs(differences).sum()  # sums in another order differ in their last bits
    if n <= PATTERNS_BLOCKS:
        sums = sign_patterns(n) @ differences
        return float((sums <= observed + slack).mean()), float((sums >= observed - slack).mean())
    if n <= EXACT_BLOCKS:
        return _tails(_signed_sums(differences[::2]), _signed_sums(differences[1::2]), observed, slack)
    # Eight pairs at a time, by a table of the sums of their 256 patterns.
    padded = np.concatenate([differences, np.zeros(-n % 8)]).reshape(-1, 8)
    tables = np.ascontiguousarray((sign_patterns(8) @ padded.T).T)

    def draw(count: int) -> Floats:
        sums = np.zeros(count)
        for own in tables:
            sums += own[rng.integers(0, 256, count, dtype=np.uint8)]
        return sums

    return _drawn(draw, observed, slack, PLAIN if n > LARGE else RESAMPLES)


def _drawn(draw: Callable[[int], Floats], observed: float, slack: float, plain: int) -> tuple[float, float]:
    """Both tails from `RESAMPLES` drawn statistics, of which the observed one counts as one more.

    From fewer where both tails have `plain` of them (Besag and Clifford 1991).
    """
    less, greater, total = 1, 1, 0
    while total < RESAMPLES and min(less, greater) <= plain:
        sums = draw(min(CHUNK, RESAMPLES - total))
        total += len(sums)
        less += int((sums <= observed + slack).sum())
        greater += int((sums >= observed - slack).sum())
    return less / (total + 1), greater / (total + 1)


@functools.cache
def sign_patterns(n: int) -> Floats:
    """(2^n, n) every pattern of signs."""
    return np.asarray(1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1), dtype=np.float64)


def _signed_sums(values: Floats) -> Floats:
    """(2^n,) the sums of values (n,) under every pattern of signs, sorted."""
    sums = np.zeros(1)
    for value in values:
        sums = np.sort(np.concatenate([sums - value, sums + value]), kind="stable")  # two runs are merged
    return sums


def _tails(one: Floats, other: Floats, observed: float, slack: float) -> tuple[float, float]:
    """The shares of all sums of one of each that are at most the observed one, and at least."""
    one, other = np.sort(one, kind="stable"), np.sort(other, kind="stable")
    total = len(one) * len(other)
    below = int(np.searchsorted(other, observed + slack - one, side="right").sum())
    above = total - int(np.searchsorted(other, observed - slack - one, side="left").sum())
    return below / total, above / total


def shuffle(candidate: Sequence[Floats], baseline: Sequence[Floats], rng: np.random.Generator) -> tuple[float, float]:
    """The same two p-values for unpaired samples (n,) and (m,) of several cells: arms are dealt anew within each cell.

    The statistic is the sum over cells of the difference of means (Fisher 1935). Exact where the cells fall into two
    groups of at most two million deals each; else from random deals, 99 999 or until no p can be small.
    """
    cells = [(np.sort(c), np.sort(b)) for c, b in zip(candidate, baseline, strict=True)]
    cells.sort(key=lambda cell: (len(cell[0]), len(cell[1]), *cell[0], *cell[1]))
    observed = sum(float(c.mean() - b.mean()) for c, b in cells)
    slack = 1e-12 * max(1.0, sum(float(abs(c).mean() + abs(b).mean()) for c, b in cells))  # as above
    counts = [math.comb(len(c) + len(b), len(c)) for c, b in cells]
    groups: tuple[list[int], list[int]] = ([], [])
    sizes = [1, 1]
    for i in sorted(range(len(cells)), key=counts.__getitem__, reverse=True):
        smaller = int(sizes[1] < sizes[0])
        groups[smaller].append(i)
        sizes[smaller] *= counts[i]
    if max(sizes) <= EXACT_DEALS:
        one, other = (
            functools.reduce(lambda sums, i: np.add.outer(sums, _deals(*cells[i])).ravel(), group, np.zeros(1))
            for group in groups
        )
        return _tails(one, other, observed, slack)

    def draw(count: int) -> Floats:
        dealt = np.zeros(count)
        for c, b in cells:
            both, n = np.concatenate([c, b]), len(c)
            rows = max(1, AT_ONCE // len(both))
            for start in range(0, count, rows):
                part = dealt[start : start + rows]
                mixed = rng.permuted(np.broadcast_to(both, (len(part), len(both))), axis=1)
                part += mixed[:, :n].mean(1) - mixed[:, n:].mean(1)
        return dealt

    return _drawn(draw, observed, slack, PLAIN)


def rarest(sizes: Iterable[tuple[int, int]]) -> float:
    """The share of one deal among all of `shuffle`, for cells with so many runs in each arm."""
    return math.exp(sum(math.lgamma(n + 1) + math.lgamma(m + 1) - math.lgamma(n + m + 1) for n, m in sizes))


def _deals(c: Floats, b: Floats) -> Floats:
    """The differences of means under every deal of both samples, (n,) and (m,), to the arms."""
    n, m = len(c), len(b)
    both = np.concatenate([c, b])
    sums = [np.zeros(1)] + [np.zeros(0)] * min(n, m)  # by size, of the subsets of what was seen so far
    for value in both:
        for size in range(len(sums) - 1, 0, -1):
            sums[size] = np.concatenate([sums[size], sums[size - 1] + value])
    own = sums[-1] if n <= m else both.sum() - sums[-1]
    return np.asarray(own / n - (both.sum() - own) / m)
