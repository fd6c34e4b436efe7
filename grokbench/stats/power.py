"""How many pairs a question needs. Simulated with the tests that decide it; knows nothing of runs.

Model: log time ratios of pairs are normal with a mean of log(ratio) and a given standard deviation, here called spread.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import gammaln

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
    n = np.arange(2, MOST + 1)
    mean = gap * (1 - ties)
    deviation = np.sqrt((1 - ties) * (spread**2 + gap**2) - mean**2)
    chance = np.ones(len(n))
    if deviation:
        chance = stats.nct.sf(stats.t.isf(level, n - 1), n - 1, np.sqrt(n) * mean / deviation)
    enough = (chance >= power) & (n * (1 - ties) >= -np.log2(level))
    if not enough.any():
        return None
    about = int(n[enough.argmax()])
    if about > EXACT + 1:
        return about
    low, high = 1, EXACT + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if flip_power(middle, gap, spread, ties, level) >= power else (middle + 1, high)
    return low


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
    """More runs in each arm with which deals of arms reach the level with this probability, on the side that leads.

    If they go on as these (n,) and (m,) did: by the power of Welch's test, which the test by deals has nearly, and not
    before one deal among all is as rare as the level. None if more than `MOST`, or if an arm has a single run.
    """
    n, m = len(candidate), len(baseline)
    gap = abs(float(candidate.mean() - baseline.mean()))
    if min(n, m) < 2 or not gap:
        return None
    more = np.arange(1, MOST + 1)
    a, b = candidate.var(ddof=1) / (n + more), baseline.var(ddof=1) / (m + more)
    rarest = gammaln(n + more + 1) + gammaln(m + more + 1) - gammaln(n + m + 2 * more + 1)
    chance = np.ones(MOST)
    if a[0] + b[0] > 0:
        freedom = (a + b) ** 2 / (a**2 / (n + more - 1) + b**2 / (m + more - 1))
        chance = stats.nct.sf(stats.t.isf(level, freedom), freedom, gap / np.sqrt(a + b))
    enough = (chance >= power) & (rarest <= np.log(level))
    return int(more[enough.argmax()]) if enough.any() else None
