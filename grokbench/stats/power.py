"""How many pairs a question needs. Simulated with the tests that decide it; knows nothing of runs.

Model: log time ratios of pairs are normal with a mean of log(ratio) and a given standard deviation, here called spread.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from grokbench.stats import sequential
from grokbench.stats.paired import Floats
from grokbench.stats.permutation import sign_patterns

PATHS = 1_000
MOST = 400  # pairs that are looked for
EXACT = 12  # pairs up to which sign-flip tests are simulated; above, the power of Student's test stands for theirs
SURE, SHAKY = (
    0.05,
    0.15,
)  # so far from the power asked for, Student's own power is believed: without ties, and with ties


class Need(NamedTuple):
    """Pairs in a cell, None if more than `MOST`: with early stopping (as many as are looked at), and without."""

    sequential: int | None
    fixed: int | None


def need(ratio: float, spread: float, cells: int, level: float = 0.05, power: float = 0.8, ties: float = 0.0) -> Need:
    """The pairs with which a true ratio is found with this probability in one of so many cells, on its own side.

    As many as a cell needs without help from the others: where these are decided, too, fewer do. ties: share of pairs
    that are ties, as when neither run groks.
    """
    gap = abs(float(np.log(ratio)))
    return Need(
        pairs_needed(gap, spread, ties, level / cells, power), flips_needed(gap, spread, ties, level / cells, power)
    )


@functools.lru_cache(maxsize=4096)
def pairs_needed(gap: float, spread: float, ties: float, level: float, power: float = 0.8) -> int | None:
    """Pairs with which the sequential test reaches the level with this probability; gap: mean log ratio, positive."""
    rng = np.random.default_rng(0)
    draws = rng.normal(-gap, spread, (PATHS, MOST)) * (rng.random((PATHS, MOST)) >= ties)
    return _first(sequential.log_e_sizes(draws) >= -np.log(level), power)


def more_needed(differences: Floats, log_e: float, power: float = 0.8) -> int | None:
    """More pairs with which the log e-value of a cell gets there with this probability, if they are drawn from those so
    far, the differences (n,).
    """
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(differences), (PATHS, MOST))
    paths = np.hstack([np.broadcast_to(differences, (PATHS, len(differences))), np.sort(differences)[drawn]])
    return _first(sequential.log_e_sizes(paths)[:, len(differences) :] >= log_e, power)


def _first(reached: NDArray[np.bool_], power: float) -> int | None:
    """The smallest number of pairs by which so many of the paths (P, n) have got there, None if none is."""
    share = reached.cumsum(1).astype(bool).mean(0)
    return int((share >= power).argmax()) + 1 if share[-1] >= power else None


@functools.lru_cache(maxsize=4096)
def flips_needed(gap: float, spread: float, ties: float, level: float, power: float = 0.8) -> int | None:
    """Pairs with which the sign-flip test reaches the level with this probability; gap: mean log ratio, positive."""
    mean = gap * (1 - ties)
    deviation = math.sqrt(max(0.0, (1 - ties) * (spread**2 + gap**2) - mean**2))

    def enough(n: int) -> bool:
        if n * (1 - ties) < -math.log2(level):
            return False
        return not deviation or _student(level, n - 1, math.sqrt(n) * mean / deviation) >= power

    about = _smallest(enough, 2, MOST + 1)
    if about > MOST:
        return None
    if about > EXACT + 1:
        return about
    return _smallest(lambda n: flip_power(n, gap, spread, ties, level) >= power, 1, EXACT + 1)


def _smallest(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest of these numbers for which a condition holds that then goes on to hold; `high` if none below it."""
    return bisect.bisect_left(range(high), True, low, high, key=holds)


def _student(level: float, freedom: float, shift: float) -> float:
    """The power of Student's one-sided test, where its statistic is shifted by so much."""
    return float(1 - special.nctdtr(freedom, shift, -special.stdtrit(freedom, level)))


def flip_power(n: int, gap: float, spread: float, ties: float, level: float) -> float:
    """Probability that the sign-flip test of n pairs reaches the level."""
    rng = np.random.default_rng(n)
    gaps = rng.normal(gap, spread, (PATHS, n)) * (rng.random((PATHS, n)) >= ties)
    if n <= EXACT:
        p = (gaps @ sign_patterns(n).T >= gaps.sum(1, keepdims=True) - 1e-9).mean(1)
    else:
        error = np.maximum(gaps.std(1, ddof=1), 1e-12) / np.sqrt(n)
        p = np.maximum(stats.t.sf(gaps.mean(1) / error, n - 1), 2.0 ** -(gaps != 0).sum(1))
    return float((p <= level).mean())


def runs_needed(candidate: Floats, baseline: Floats, level: float, power: float = 0.8) -> int | None:
    """More runs in each arm with which permutations reach the level with this probability, on the side that leads.

    If they go on as these (n,) and (m,) did: by the power of Welch's test, which the permutation test nearly has, and
    not before one permutation among all is as rare as the level. None if more than `MOST`, or if an arm has a single
    run.
    """
    n, m = len(candidate), len(baseline)
    gap = abs(float(candidate.mean() - baseline.mean()))
    if min(n, m) < 2 or not gap:
        return None
    spread_c, spread_b = float(candidate.var(ddof=1)), float(baseline.var(ddof=1))

    def enough(more: int) -> bool:
        c, b = n + more, m + more
        if special.gammaln(c + 1) + special.gammaln(b + 1) - special.gammaln(c + b + 1) > math.log(level):
            return False
        x, y = spread_c / c, spread_b / b
        if x + y == 0:
            return True
        freedom = (x + y) ** 2 / (x**2 / (c - 1) + y**2 / (b - 1))
        return _student(level, freedom, gap / math.sqrt(x + y)) >= power

    found = _smallest(enough, 1, MOST + 1)
    return found if found <= MOST else None
