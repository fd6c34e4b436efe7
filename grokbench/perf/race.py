"""Two actions in one run, in balanced order, and the ratio of their times. Torch-free; the clock is given.

A *quad* is four calls, A B B A or B A A B in turn, so that a steady drift of the machine's speed meets both alike. Its
log ratio is that of B's two times to A's. Neighbouring quads share what else the machine does, so the interval of the
median ratio is from a moving-block bootstrap (Künsch 1989).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from grokbench.stats import Floats, Interval

BLOCK = 5  # quads that are resampled together
RESAMPLES = 4_999
FEWEST, MOST = 20, 400  # quads
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
        """'slower' or 'faster' if the whole interval lies beyond the margin and the medians differ by the floor."""
        if abs(self.difference) <= floor:
            return "alike"
        if self.interval[0] > 1 + margin and self.difference > 0:
            return "slower"
        return "faster" if self.interval[1] < 1 / (1 + margin) and self.difference < 0 else "alike"


def race(baseline: Clock, candidate: Clock, seconds: float, warmups: int = 3) -> Race:
    """Time both for about so many seconds, in 20 to 400 quads."""
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
    low, high = np.quantile(_resampled(logs), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Race(baseline, candidate, float(np.exp(np.median(logs))), (float(np.exp(low)), float(np.exp(high))))


def _resampled(logs: Floats) -> Floats:
    """Medians of resampled rows of blocks that wrap around."""
    rng = np.random.default_rng(0)
    n = len(logs)
    starts = rng.integers(0, n, (RESAMPLES, -(-n // BLOCK)))
    places = (starts[..., None] + np.arange(BLOCK)).reshape(RESAMPLES, -1)[:, :n] % n
    return np.asarray(np.median(logs[places], axis=1))
