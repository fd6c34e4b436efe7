"""The factor between the times of two arms where some never came: the factors that a test of the arms would not refute.

Means of times say little where a run never gets there: one such run is worth all others, and a small sample mostly has
none. So a factor ρ is tested as the arms are, the candidate's times against ρ times the baseline's, both cut where both
can be seen (Hodges and Lehmann 1963; for censored times Wei and Gail 1983). If times differ by a factor, and whether a
run ever gets there does not depend on the arm, the test is exact for that factor, whatever share of runs is cut. The
ends of an interval are 0 and ∞ where no factor is refuted on that side, as with fewer than six pairs.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special
from scipy.optimize import brentq

from grokbench.stats.paired import Floats, Interval
from grokbench.stats.permutation import sign_patterns

PATTERNS = 4_096  # of signs or permutations, all of them where there are no more; the first of them as observed
MOST = 40  # pairs, or runs in both arms of a cell, above which sums are taken as normal
TRIES = 6  # of ever smaller factors: between rare evaluations, times that differ by a large one are not told apart
STEPS = 28  # halvings of the range of log factors; of what is printed, a millionth


def by_signs(
    differences: Callable[[float], Floats],
    widest: float,
    level: float = 0.95,
    bounds: Callable[[float, int], Floats] | None = None,
) -> tuple[float | None, Interval]:
    """The factor at which the mean difference of pairs is zero, and the interval by their sign flips.

    differences: for a log factor x, (n,) differences of log times between the candidate and e^x times the baseline.
    They fall as x grows, and stay as they are beyond ± widest. bounds: where they are not known exactly, for a log
    factor and a sign the most (1) and the least (−1) that they can be, by which the ends are found. The factor is None
    where it is unknown, as when one arm never gets there.
    """
    half = (1 - level) / 2

    def score(x: float, sign: int) -> float:
        d = sign * (bounds(x, sign) if bounds else differences(x))
        observed = float(d.sum())
        if len(d) > MOST:
            return _normal(observed, float(np.sqrt((d**2).sum())), half)
        return float((_signs(len(d)) @ d <= observed + 1e-12 * float(abs(d).sum())).mean()) - half

    smooth = bounds is None and len(differences(0.0)) > MOST
    return _invert(lambda x: float(differences(x).sum()), score, widest, smooth)


def by_permutations(
    samples: Callable[[float], Sequence[tuple[Floats, Floats]]],
    widest: float,
    level: float = 0.95,
    bounds: Callable[[float, int], Sequence[tuple[Floats, Floats]]] | None = None,
) -> tuple[float | None, Interval]:
    """The same of arms that share nothing, by permutations of their runs.

    samples: for a log factor x, in each cell the log times (n,) of the candidate and (m,) of e^x times the baseline.
    bounds: where they are not known exactly, those that make the candidate the latest (1) and the earliest (−1).
    """

    def gap(cells: Sequence[tuple[Floats, Floats]]) -> float:
        return sum(float(c.mean() - b.mean()) for c, b in cells)

    half = (1 - level) / 2

    def score(x: float, sign: int) -> float:
        cells = bounds(x, sign) if bounds else samples(x)
        observed = sign * gap(cells)
        if max(len(c) + len(b) for c, b in cells) > MOST:
            return _normal(observed, math.sqrt(sum(_variance(c, b) for c, b in cells)), half)
        both = [np.concatenate(cell) for cell in cells]
        permutations = [_permutations(len(c), len(b), i, len(cells)) for i, (c, b) in enumerate(cells)]
        permuted = np.sum(
            [permutation @ values for permutation, values in zip(permutations, both, strict=True)], axis=0
        )
        return float((sign * permuted <= observed + 1e-12 * sum(float(abs(x).sum()) for x in both)).mean()) - half

    smooth = bounds is None and max(len(c) + len(b) for c, b in samples(0.0)) > MOST
    return _invert(lambda x: gap(samples(x)), score, widest, smooth)


def _invert(
    statistic: Callable[[float], float],
    score: Callable[[float, int], float],
    widest: float,
    continuous: bool,
) -> tuple[float | None, Interval]:
    """statistic: for a log factor, low where the candidate is earlier. score: for a log factor, and a sign that swaps
    the arms, how far the share of patterns with a statistic as low is above that which refutes. continuous: whether
    it is, or goes in steps.
    """
    reaches = [widest / 2**i for i in range(TRIES)]

    def crossing(of: Callable[[float], float], continuous: bool = True) -> float:
        """Where a function that falls, or stays, is no longer positive."""
        low = next((-x for x in reaches if of(-x) > 0), -math.inf)
        high = next((x for x in reaches if of(x) <= 0), math.inf)
        if math.isinf(low) or math.isinf(high):
            return low if math.isinf(low) else high
        if continuous:
            return float(brentq(of, low, high, xtol=1e-7))
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (low, middle) if of(middle) <= 0 else (middle, high)
        return high

    low = crossing(lambda x: -score(x, -1), continuous)
    high = crossing(lambda x: score(x, 1), continuous)
    middle = crossing(lambda x: statistic(x) - 1e-9)
    if math.isfinite(middle) and statistic(middle + 1e-5) >= -1e-9:  # it is zero over a range, as with ties
        middle = (middle + crossing(lambda x: statistic(x) + 1e-9)) / 2
    return (math.exp(middle) if math.isfinite(middle) else None), (math.exp(low), math.exp(high))


def _normal(observed: float, deviation: float, half: float) -> float:
    """How many deviations a statistic lies above the one that refutes."""
    return (observed / deviation if deviation else 0.0) - float(special.ndtri(half))


def _variance(c: Floats, b: Floats) -> float:
    """That of the difference of means over all permutations."""
    return float(np.concatenate([c, b]).var(ddof=1)) * (1 / len(c) + 1 / len(b))


@functools.cache
def _signs(n: int) -> Floats:
    """(patterns, n) signs, the first of them all 1."""
    if 2**n <= PATTERNS:
        return sign_patterns(n)
    signs = np.asarray(1.0 - 2.0 * np.random.default_rng(n).integers(0, 2, (PATTERNS, n)), dtype=np.float64)
    signs[0] = 1
    return signs


@functools.cache
def _permutations(n: int, m: int, cell: int, cells: int) -> Floats:
    """(patterns, n + m) weights of runs in a difference of means, the first of them as the arms are.

    All permutations where there is one cell with so few, else drawn ones, for each of several cells its own.
    """
    own = np.repeat([1 / n, -1 / m], [n, m])
    if cells == 1 and math.comb(n + m, n) <= PATTERNS:
        chosen = np.array(list(itertools.combinations(range(n + m), n)))
        permuted = np.full((len(chosen), n + m), -1 / m)
        np.put_along_axis(permuted, chosen, 1 / n, axis=1)
        return permuted
    rng = np.random.default_rng([n, m, cell])
    permuted = rng.permuted(np.broadcast_to(own, (PATTERNS, n + m)), axis=1)
    permuted[0] = own
    return permuted
