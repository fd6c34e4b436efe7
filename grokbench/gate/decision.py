"""The rule of a gate: pairs of restricted times -> PASS, IMPROVED, REGRESSION or INCONCLUSIVE. Torch-free.

All tests are e-processes on paired differences, so the rule may be applied after any number of pairs. With the margin m
and the budget B, times are cut where both arms can be seen: T_candidate at B + 1, and (1 + m) · T_baseline there, too.
If the candidate is exactly by the margin later, these two are exchangeable within a pair, censored or not. With several
cells, a pair is one replica of a task, with the mean difference over its softmaxes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from grokbench.stats import paired, sequential
from grokbench.stats.paired import Floats, Interval
from grokbench.verdicts.pairs import Evidence, Sample, in_order, stack, sums

FIRST_LOOK, GROWTH = 8, 1.4  # pairs at the first look, and by how much their number grows from look to look
# A minority of pairs may be lost by far while a typical pair is within the margin. PASS shows that this minority, over
# the one that is won by far, is less than this share; a smaller one would take more pairs (13 at the least for 0.25).
SHARE, FAR = 0.25, 2.0
MOST_MORE, PATHS, POWER = 400, 200, 0.8  # for the number of pairs that are still needed


Times = Callable[[Sample], Floats]
"""Which times of a sample are compared."""


def _first(sample: Sample) -> Floats:
    return sample.first


def _sustained(sample: Sample) -> Floats:
    return sample.sustained


_KINDS: tuple[Times, Times] = (_first, _sustained)


class Outcome(Enum):
    PASS = "PASS"
    IMPROVED = "IMPROVED"
    REGRESSION = "REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"


class Tests(NamedTuple):
    """p-values, after correction over tasks. late: T_candidate > (1 + margin) · T_baseline, for first crossings and
    sustained times; rare: fewer runs grok by then; fine: the reverse of late; few: the share of pairs lost by far
    exceeds the share won by far by less than `SHARE`; early: the first crossing is earlier.
    """

    late: float
    late_sustained: float
    rare: float
    fine: float
    fine_sustained: float
    few: float
    early: float


@dataclass(frozen=True)
class Decision:
    """The outcome with its reason. ratio: candidate's over baseline's restricted mean time, with a 95 % interval.

    grokked: runs of baseline and candidate. more: pairs that would probably decide, None if more than 400 or decided.
    """

    outcome: Outcome
    reason: str
    pairs: int
    tests: Tests
    ratio: float
    interval: Interval
    sustained_ratio: float
    grokked: tuple[int, int]
    more: int | None = None


def looks(most: int) -> list[int]:
    """After how many pairs to decide, at most `most`."""
    found, count = [], float(FIRST_LOOK)
    while count < most:
        found.append(round(count))
        count *= GROWTH
    return [*found, most]


def rule(cells: Sequence[Evidence], margin: float, level: float) -> tuple[Outcome, Tests]:
    """What these cells' samples say.

    REGRESSION if one of three guards, for first crossings, sustained times and grok rates, reaches a third of the
    level. PASS if both times are shown to be within the margin and few pairs to be lost by far, each at the level, and
    if the ratios of mean times, as seen in each task, are within the margin. IMPROVED if, besides, first crossings are
    shown to be earlier.
    """
    tests = _tests(cells, margin)
    if min(tests.late, tests.late_sustained, tests.rare) <= level / 3:
        return Outcome.REGRESSION, tests
    shown = max(tests.fine, tests.fine_sustained, tests.few) <= level
    if not shown or any(ratio > 1 + margin for own in _tasks(cells) for ratio in _ratios(own)):
        return Outcome.INCONCLUSIVE, tests
    return Outcome.IMPROVED if tests.early <= level else Outcome.PASS, tests


def _tasks(cells: Sequence[Evidence]) -> list[list[Evidence]]:
    """The cells of each task."""
    return [[e for e in cells if e.block == block] for block in dict.fromkeys(e.block for e in cells)]


def _ratios(cells: Sequence[Evidence]) -> tuple[float, float]:
    """Candidate's over baseline's restricted mean time, for first crossings and sustained times."""
    first, sustained = (paired.restricted_ratio(*_stacked(cells, times)) for times in _KINDS)
    return first, sustained


def _stacked(cells: Sequence[Evidence], times: Times) -> tuple[list[Floats], list[Floats]]:
    """The candidate's times and the baseline's, (S, n) for each task."""
    return stack(cells, lambda e: times(e.candidate)), stack(cells, lambda e: times(e.baseline))


def _tests(cells: Sequence[Evidence], margin: float) -> Tests:
    tasks = _tasks(cells)

    def p(side: Floats) -> float:
        return min(1.0, float(np.exp(-sequential.log_e_sizes(side)[-1])))

    def guarded(side: Callable[[Sequence[Evidence]], Floats]) -> float:
        """Of all tasks together or of the worst, corrected for looking at both."""
        if len(tasks) == 1:
            return p(side(cells))
        return min(1.0, 2 * p(side(cells)), 2 * len(tasks) * min(p(side(own)) for own in tasks))

    return Tests(
        late=guarded(lambda own: -_differences(own, _first, margin)),
        late_sustained=guarded(lambda own: -_differences(own, _sustained, margin)),
        rare=guarded(lambda own: -_missing(own, margin)),
        fine=p(_differences(cells, _first, margin)),
        fine_sustained=p(_differences(cells, _sustained, margin)),
        few=min(1.0, float(np.exp(-sequential.log_e_share(_far(cells), SHARE)[-1]))),
        early=p(_differences(cells, _first, 0.0)),
    )


def decide(cells: Sequence[Evidence], margin: float, level: float) -> Decision:
    """The outcome by `rule` with all that explains it."""
    outcome, tests = rule(cells, margin, level)
    candidate, baseline = _stacked(cells, _first)
    grokked = [
        int(sum((sample.first < e.never).sum() for sample, e in zip(arm, cells, strict=True)))
        for arm in ([e.baseline for e in cells], [e.candidate for e in cells])
    ]
    interval = paired.ratio_interval(candidate, baseline, np.random.default_rng(0))
    ratio, sustained = _ratios(cells)
    more = _more(cells, margin, level) if outcome is Outcome.INCONCLUSIVE else None
    shown = f"time ratio {ratio:.2f}" + (
        f" ({interval[0]:.2f}–{interval[1]:.2f})" if math.isfinite(interval[1]) else ""
    )
    reason = _reason(outcome, tests, level, margin, shown, f"sustained {sustained:.2f}", grokked, more)
    pairs = max(len(e.order) for e in cells)
    return Decision(outcome, reason, pairs, tests, ratio, interval, sustained, (grokked[0], grokked[1]), more)


def _cut(e: Evidence, times: Times, margin: float) -> tuple[Floats, Floats]:
    """Candidate's times and the baseline's times 1 + margin, both cut at `never`."""
    ends = times(e.candidate), times(e.baseline) * (1 + margin)
    candidate, baseline = (np.minimum(x, e.never).astype(np.float64) for x in ends)
    return candidate, baseline


def _in_order(cells: Sequence[Evidence], values: Sequence[Floats]) -> Floats:
    """One number for each replica of a task, the mean over its softmaxes, replica by replica."""
    of_cell = dict(zip(cells, values, strict=True))
    return in_order(sums(cells, lambda e: of_cell[e])) * len(_tasks(cells)) / len(cells)


def _differences(cells: Sequence[Evidence], times: Times, margin: float) -> Floats:
    """log T_candidate − log((1 + margin) · T_baseline), negative where the candidate is within the margin."""
    cuts = [_cut(e, times, margin) for e in cells]
    return _in_order(cells, [(np.log(candidate) - np.log(baseline)).astype(np.float64) for candidate, baseline in cuts])


def _missing(cells: Sequence[Evidence], margin: float) -> Floats:
    """1 where the candidate alone did not grok, −1 where the baseline alone did not, by its share of the budget."""
    cuts = [(_cut(e, _first, margin), e.never) for e in cells]
    return _in_order(cells, [(c >= never).astype(np.float64) - (b >= never) for (c, b), never in cuts])


def _far(cells: Sequence[Evidence]) -> Floats:
    """1 where the candidate is `FAR` times as late or did not grok, −1 where the baseline is or did not."""
    found = []
    for e in cells:
        c, b = _cut(e, _first, 0.0)
        lost = (c >= FAR * b) | ((c >= e.never) & (b < e.never))
        won = (b >= FAR * c) | ((b >= e.never) & (c < e.never))
        found.append(lost.astype(np.float64) - won)
    return _in_order(cells, found)


def _more(cells: Sequence[Evidence], margin: float, level: float) -> int | None:
    """Pairs in each cell that would decide with a probability of 80 % if they went on as those so far."""
    rng = np.random.default_rng(0)
    late = [-_differences(cells, times, margin) for times in _KINDS]
    fine = [_differences(cells, times, margin) for times in _KINDS]
    n, tasks = len(late[0]), len(_tasks(cells))
    drawn = rng.integers(0, n, (PATHS, MOST_MORE))

    def reached(side: Floats, bound: float, log_e: Callable[[Floats], Floats] = sequential.log_e_sizes) -> Any:
        path = np.hstack([np.broadcast_to(side, (PATHS, n)), side[drawn]])
        return log_e(path)[:, n:] >= -math.log(bound)

    alarmed = [reached(side, level / 3) for side in (*late, -_missing(cells, margin))]
    few = reached(_far(cells), level, lambda d: sequential.log_e_share(d, SHARE))
    passed = np.logical_and.reduce([few, *(reached(side, level) for side in fine)])
    share = np.logical_or.accumulate(np.logical_or.reduce([passed, *alarmed]), 1).mean(0)
    return -(-(int((share >= POWER).argmax()) + 1) // tasks) if share[-1] >= POWER else None


def _reason(
    outcome: Outcome,
    tests: Tests,
    level: float,
    margin: float,
    ratio: str,
    sustained: str,
    grokked: Sequence[int],
    more: int | None,
) -> str:
    if outcome is Outcome.REGRESSION:
        what = [
            f"{name}, p {p:.2g}"
            for name, p in (
                (f"first crossings are more than {margin:.0%} later", tests.late),
                (f"sustained grok times are more than {margin:.0%} later", tests.late_sustained),
                (f"fewer runs grok, {grokked[1]} instead of {grokked[0]}", tests.rare),
            )
            if p <= level / 3
        ]
        return f"{'; '.join(what)}; {ratio}, {sustained}"
    if outcome is Outcome.INCONCLUSIVE:
        need = f"about {more} more pairs would decide" if more else "many more pairs would not decide"
        return f"neither within {margin:.0%} nor beyond it: {ratio}, {sustained}; {need}"
    p = max(tests.fine, tests.fine_sustained, tests.few)
    line = f"first crossings and sustained times are within {margin:.0%}, p {p:.2g}; {ratio}, {sustained}"
    return f"earlier, p {tests.early:.2g}; {line}" if outcome is Outcome.IMPROVED else line
