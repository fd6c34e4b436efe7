"""Permutation tests of the mean: exact where all patterns can be counted, else drawn. No order of input moves a p."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from grokbench.stats.paired import Floats

PATTERNS_BLOCKS = 16  # 2^16 sign patterns are held as a matrix
EXACT_BLOCKS = 40  # of which each half has 2^20 sums
EXACT_DEALS = 2**21  # in each of two groups of cells
RESAMPLES = 99_999
CHUNK = 10_000
PLAIN = 2_500  # drawn patterns as extreme on either side, after which neither p can be small: no more are drawn
LARGE = 200  # pairs above which drawing takes time
MANY = 1_000  # pairs or runs above which the sum's distribution is known better than by draws
FEW = 50  # different sizes, of which sums lie on a lattice that moments do not know
TOO_MANY = 20_000  # runs that are not permuted at all
LEAST = 1e-15  # of a p that is not counted
WEIGHT = 0.03  # of one pair or run in the variance of the sum, up to which that is believed


def sign_flip(differences: Floats, rng: np.random.Generator, plain: int = RESAMPLES) -> tuple[float, float]:
    """One-sided p-values that differences (n,) tend to be negative, and that they tend to be positive.

    The statistic is the mean; under the hypothesis that the arms are exchangeable within a pair every pattern
    of signs is equally likely (Fisher 1935). Exact up to 40 pairs that differ, above 16 by meeting in the middle
    (Horowitz and Sahni 1974); else from 99 999 random patterns, of which the observed one counts as one more. Above a
    thousand by the moments of all patterns, which come closer than draws do where differences are of many sizes. plain:
    drawn patterns as extreme on either side after which no more are drawn.
    """
    differences = np.sort(differences[differences != 0])  # a tie has the same sum under either sign
    observed, n = differences.sum(), len(differences)
    slack = 1e-12 * abs(differences).sum()  # sums in another order differ in their last bits
    if n <= PATTERNS_BLOCKS:
        sums = sign_patterns(n) @ differences
        return float((sums <= observed + slack).mean()), float((sums >= observed - slack).mean())
    if n <= EXACT_BLOCKS:
        return _tails(_signed_sums(differences[::2]), _signed_sums(differences[1::2]), observed, slack)
    squares = differences**2
    sizes, counts = np.unique(np.round(abs(differences), 12), return_counts=True)
    if n > MANY and len(sizes) <= FEW:
        return _drawn(
            lambda count: _binomial(sizes, counts, count, rng), observed, 1e-9 * float(abs(differences).sum())
        )
    if n > MANY and squares.max() <= WEIGHT * squares.sum():
        variance = float(squares.sum())
        return _smooth(observed, variance, 0.0, -2 * float((squares**2).sum()))
    # Eight pairs at a time, by a table of the sums of their 256 patterns.
    padded = np.concatenate([differences, np.zeros(-n % 8)]).reshape(-1, 8)
    tables = np.ascontiguousarray((sign_patterns(8) @ padded.T).T)

    def draw(count: int) -> Floats:
        sums = np.zeros(count)
        for own in tables:
            sums += own[rng.integers(0, 256, count, dtype=np.uint8)]
        return sums

    return _drawn(draw, observed, slack, plain if n <= LARGE else PLAIN)


def sign_test(differences: Floats) -> tuple[float, float]:
    """One-sided p-values that more of the differences (n,) are negative than positive, and the other way round.

    Exact, by the binomial distribution, of those that are not zero (Dixon and Mood 1946). The hypothesis is that the
    median is zero; nothing is asked of the shape.
    """
    less, greater = int((differences < 0).sum()), int((differences > 0).sum())
    n = less + greater
    return float(special.bdtr(n - less, n, 0.5)), float(special.bdtr(n - greater, n, 0.5))


def _binomial(sizes: Floats, counts: NDArray[np.int_], count: int, rng: np.random.Generator) -> Floats:
    """Drawn sums of differences of few sizes (k,), of which there are so many each: how many are positive is drawn."""
    positive = rng.binomial(counts, 0.5, (count, len(counts)))
    return np.asarray((2 * positive - counts) @ sizes)


def _smooth(observed: float, variance: float, third: float, fourth: float = 0.0) -> tuple[float, float]:
    """Both tails of a sum of many by its cumulants, the mean 0 (Edgeworth's terms for skewness and kurtosis)."""
    z, skew, kurtosis = observed / math.sqrt(variance), third / variance**1.5, fourth / variance**2
    terms = (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * kurtosis / 24
    shift = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * terms
    less, greater = float(special.ndtr(z)) - shift, float(special.ndtr(-z)) + shift
    return min(max(less, LEAST), 1.0), min(max(greater, LEAST), 1.0)


def _drawn(draw: Callable[[int], Floats], observed: float, slack: float, plain: int = PLAIN) -> tuple[float, float]:
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
    places = np.searchsorted(other, observed + slack - one, side="right")
    least = observed - slack - one
    equal = other[places - 1] >= least  # or a place is 0, and its sum is counted below
    lower = places.copy()
    lower[equal] = np.searchsorted(other, least[equal], side="left")
    return int(places.sum()) / total, (total - int(lower.sum())) / total


def shuffle(candidate: Sequence[Floats], baseline: Sequence[Floats]) -> tuple[float, float]:
    """The same two p-values for unpaired samples (n,) and (m,) of several cells: runs are permuted within each cell.

    The statistic is the sum over cells of the difference of means (Fisher 1935). Exact where the cells fall into two
    groups of at most two million permutations each; else from random permutations, 99 999 or until no p can be small;
    with more than a thousand runs by the first three moments of all permutations.
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
            functools.reduce(lambda sums, i: np.add.outer(sums, _permutations(*cells[i])).ravel(), group, np.zeros(1))
            for group in groups
        )
        return _tails(one, other, observed, slack)

    runs = sum(len(c) + len(b) for c, b in cells)
    if runs > MANY:
        moments = [_moments(c, b) for c, b in cells]
        variance = sum(m[0] for m in moments)
        if not variance:
            return 1.0, 1.0
        if len(cells) == 1:
            values, held = np.unique(np.round(np.concatenate(cells[0]), 12), return_counts=True)
            if len(values) <= FEW:
                n, m = (len(own) for own in cells[0])
                total = float(held @ values)

                def permutation(count: int) -> Floats:
                    sums = rng.multivariate_hypergeometric(held, n, count, method="marginals") @ values
                    return np.asarray(sums / n - (total - sums) / m)

                rng = np.random.default_rng(0)
                return _drawn(permutation, observed, 1e-9 * float(abs(values).max()))
        if runs > TOO_MANY or max(m[2] for m in moments) <= WEIGHT * variance:
            return _smooth(observed, variance, sum(m[1] for m in moments))
    tables = [_tables(np.concatenate(cell)) for cell in cells]
    chunks = itertools.count()

    def draw(count: int) -> Floats:
        chunk, permuted = next(chunks), np.zeros(count)
        for i, ((c, b), own) in enumerate(zip(cells, tables, strict=True)):
            sums = np.zeros(CHUNK)
            for table, labels in zip(own, _labels(len(c), len(b), i, chunk), strict=True):
                sums += table[labels]
            permuted += (sums / len(c) - (c.sum() + b.sum() - sums) / len(b))[:count]
        return permuted

    return _drawn(draw, observed, slack)


def _tables(values: Floats) -> Floats:
    """(⌈n/8⌉, 256) for eight values (n,) after the other, the sums of all their subsets, by the bits of a byte."""
    padded = np.concatenate([values, np.zeros(-len(values) % 8)]).reshape(-1, 8)
    return np.ascontiguousarray(padded @ np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).T)


@functools.lru_cache(maxsize=16)  # of a size, since cells of a table are often alike
def _labels(n: int, m: int, cell: int, chunk: int) -> NDArray[np.uint8]:
    """(⌈(n+m)/8⌉, CHUNK) drawn permutations of n and m runs, as bits: which belong to the candidate."""
    rng = np.random.default_rng([n, m, cell, chunk])
    own = np.repeat(np.array([1, 0], dtype=np.uint8), [n, m])
    return np.packbits(rng.permuted(np.broadcast_to(own, (CHUNK, n + m)), axis=1), axis=1).T.copy()


def _moments(c: Floats, b: Floats) -> tuple[float, float, float]:
    """Of the difference of means over all permutations, the variance and the third central moment; and the most that a
    single run adds to the variance. Those of a mean of runs drawn without replacement.
    """
    n, m = len(c), len(b)
    both = np.concatenate([c, b])
    away, total = both - both.mean(), n + m
    scale = total / (n * m)  # the variance of the difference by that of the runs
    variance = float((away**2).sum()) / (total - 1) * scale
    if total < 3 or not variance:
        return variance, 0.0, variance
    skew = float((away**3).mean()) / float((away**2).mean()) ** 1.5
    factor = (total - 2 * n) * math.sqrt(total - 1) / ((total - 2) * math.sqrt(n * m))
    return variance, skew * factor * variance**1.5, float((away**2).max()) / (total - 1) * scale


def rarest(sizes: Iterable[tuple[int, int]]) -> float:
    """The share of one permutation among all of `shuffle`, for cells with so many runs in each arm."""
    return math.exp(sum(math.lgamma(n + 1) + math.lgamma(m + 1) - math.lgamma(n + m + 1) for n, m in sizes))


def _permutations(c: Floats, b: Floats) -> Floats:
    """The differences of means under every permutation of both samples, (n,) and (m,), between the arms."""
    n, m = len(c), len(b)
    both = np.concatenate([c, b])
    sums = [np.zeros(1)] + [np.zeros(0)] * min(n, m)  # by size, of the subsets of what was seen so far
    for value in both:
        for size in range(len(sums) - 1, 0, -1):
            sums[size] = np.concatenate([sums[size], sums[size - 1] + value])
    own = sums[-1] if n <= m else both.sum() - sums[-1]
    return np.asarray(own / n - (both.sum() - own) / m)
