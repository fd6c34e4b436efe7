"""Two actions in one run, in balanced order, and the ratio of their times. Torch-free; the clock is given.

A *quad* is four calls, A B B A or B A A B in turn, so that a steady drift of the machine's speed meets both alike. Its
log ratio is that of B's two times to A's. Neighbouring quads share what else the machine does, so the interval of the
median ratio is from a moving-block bootstrap (Künsch 1989), widened as Student's for its number of blocks. Its 99 % are
nominal: what lasts longer than a block, a twelfth of the race, is not seen by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from grokbench.stats.paired import Floats, Interval

BLOCKS = 12  # so many make a resample
RESAMPLES = 4_999
FEWEST, MOST = 24, 400  # quads
LEVEL = 0.99  # of the interval: a flag means that all of it lies beyond the margin
Clock = Callable[[], float]
"""Makes one call and returns its seconds."""


@dataclass(frozen=True, eq=False)
class Race:
    """Seconds of each call of the baseline and the candidate (quads, 2); ratio: candidate's time over baseline's."""

    baseline: Floats
    candidate: Floats
    ratio: float
    interval: Interval

    @property
    def difference(self) -> float:
        """Seconds between the medians."""
        return float(np.median(self.candidate) - np.median(self.baseline))

    def verdict(self, margin: float, floor: float) -> str:
        """'slower' or 'faster' if the whole interval lies beyond the margin and the medians differ by the floor.

        'alike' if it lies within, or the medians differ by less than the floor; else 'undecided'.
        """
        low, high = self.interval
        if abs(self.difference) <= floor or (low >= 1 / (1 + margin) and high <= 1 + margin):
            return "alike"
        if low > 1 + margin and self.difference > 0:
            return "slower"
        return "faster" if high < 1 / (1 + margin) and self.difference < 0 else "undecided"


def race(baseline: Clock, candidate: Clock, seconds: float, warmups: int = 3) -> Race:
    """Time both for about so many seconds, in 24 to 400 quads."""
    once = 0.0
    for _ in range(warmups):
        once = baseline() + candidate()
    quads = max(FEWEST, min(MOST, int(seconds / max(2 * once, 1e-9))))
    times = np.empty((quads, 2, 2))  # quad, arm, call
    for quad in range(quads):
        order = (0, 1, 1, 0) if quad % 2 == 0 else (1, 0, 0, 1)
        seen = [0, 0]
        for arm in order:
            times[quad, arm, seen[arm]] = (baseline, candidate)[arm]()
            seen[arm] += 1
    return result(times[:, 0], times[:, 1])


def result(baseline: Floats, candidate: Floats) -> Race:
    """The median ratio of the quads' times (quads, 2), with its interval."""
    logs = np.log(candidate.sum(1)) - np.log(baseline.sum(1))
    middle = float(np.median(logs))
    reach = stats.t.ppf((1 + LEVEL) / 2, BLOCKS - 1) / stats.norm.ppf((1 + LEVEL) / 2)
    ends = middle + reach * (np.quantile(_resampled(logs), [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) - middle)
    return Race(baseline, candidate, float(np.exp(middle)), (float(np.exp(ends[0])), float(np.exp(ends[1]))))


def _resampled(logs: Floats) -> Floats:
    """Medians of resampled rows of blocks that wrap around."""
    rng = np.random.default_rng(0)
    n = len(logs)
    block = max(1, n // BLOCKS)
    starts = rng.integers(0, n, (RESAMPLES, -(-n // block)))
    places = (starts[..., None] + np.arange(block)).reshape(RESAMPLES, -1)[:, :n] % n
    return np.asarray(np.median(logs[places], axis=1))
