"""Times of two arms that were evaluated unlike often, compared as if both had been evaluated alike.

A run that was evaluated every hundred epochs looks fifty later than it was. So of two runs the time that is known more
closely is rounded up to where the other run was evaluated, be it earlier or later: both times are then made in
one way, and under the hypothesis that the arms do not differ they can be exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from grokbench.stats.paired import Floats
from grokbench.verdicts.reading import Row

SAME = 1e-9  # of a step, by which multiples of steps differ in their last bits


class Seen(NamedTuple):
    """Restricted times of runs (..., n), with the last evaluation before each; equal to the time where it is exact, or
    the run never got there. anchor, step: times at which a run was evaluated are anchor ± step · k; step 0: at all. Of
    runs that are not paired, (1,).
    """

    time: Floats
    before: Floats
    anchor: Floats
    step: Floats

    def times(self, factor: float) -> Seen:
        """Those of runs that take so many times as long."""
        return Seen(*(factor * values for values in self))


def seen(rows: Sequence[Row], never: float, *, paired: bool) -> Seen:
    """Those of an arm in a cell. A run that never got there was evaluated as most of its arm."""
    time = np.array([row.time if row.event else never for row in rows])
    steps = np.array([_step(row) for row in rows])
    usual = _usual(rows)
    own = [(row.time, _step(row)) if row.event else usual for row in rows] if paired else [usual]
    anchor, step = np.array(own, dtype=float).T
    return Seen(time, time - steps, anchor, step)


def _usual(rows: Sequence[Row]) -> tuple[float, float]:
    """The time of a run that was evaluated as most are, and its step; 0 where most are evaluated in several ways."""
    known = sorted((row for row in rows if row.event), key=_step)
    if not known:
        return 0.0, 0.0
    middle = known[len(known) // 2]
    alike = sum(abs(_step(row) - _step(middle)) <= SAME * middle.time for row in known)
    return (middle.time, _step(middle)) if 2 * alike > len(known) else (middle.time, 0.0)


def _step(row: Row) -> float:
    return row.time - row.before if row.event and row.before is not None else 0.0


def alike(baseline: Seen, candidate: Seen, side: int = 0) -> tuple[Floats, Floats]:
    """Both times as the arm that was evaluated less often would have them.

    Where its evaluations are not among those of the other, more than one of them may be the first that the other run
    would have reached. side: 1 takes what makes the candidate the latest, −1 the earliest, 0 the middle; of
    pairs, 0 also ties those of which nobody knows which was earlier.
    """
    rarer = candidate.step >= baseline.step
    least, most = _up(baseline, candidate)
    b = np.where(rarer, _between(least, most, side), baseline.time)
    least, most = _up(candidate, baseline)
    c = np.where(rarer, candidate.time, _between(least, most, -side))
    if side == 0:
        even = candidate.step == baseline.step
        b, c = np.where(even, baseline.time, b), np.where(even, candidate.time, c)
        if b.shape == c.shape == candidate.step.shape:
            tie = (candidate.before < baseline.time) & (baseline.before < candidate.time)
            b = np.where(tie, c, b)
    return b, c


def dealt(baseline: Seen, candidate: Seen, never: float) -> tuple[Floats, Floats]:
    """Times of arms that share nothing, as if both had been evaluated alike; those between evaluations that overlap
    are as late as the last of them.
    """
    b, c = (np.minimum(own, never) for own in alike(baseline, candidate))
    before = np.where(candidate.step > baseline.step, b - candidate.step, baseline.before)
    times, before = (
        np.r_[b, c],
        np.r_[before, np.where(baseline.step > candidate.step, c - baseline.step, candidate.before)],
    )
    group: list[int] = []
    end = 0.0
    for i in [*np.argsort(before, kind="stable").tolist(), None]:
        if group and (i is None or before[i] >= end * (1 - SAME)):
            times[group] = end
            group, end = [], 0.0
        if i is not None and times[i] < never:
            group.append(i)
            end = max(end, float(times[i]))
    return times[: len(b)], times[len(b) :]


def _up(run: Seen, other: Seen) -> tuple[Floats, Floats]:
    """The first evaluations of the other run that this one may have reached, the earliest and the latest."""
    step = np.where(other.step > 0, other.step, 1.0)
    latest = other.anchor - step * np.floor((other.anchor - run.time) / step + SAME)
    earliest = other.anchor - step * (np.ceil((other.anchor - run.before) / step - SAME) - 1)
    exact = other.step == 0
    return np.where(exact, run.time, np.minimum(earliest, latest)), np.where(exact, run.time, latest)


def _between(least: Floats, most: Floats, side: int) -> Floats:
    return np.sqrt(least * most) if side == 0 else least if side > 0 else most
