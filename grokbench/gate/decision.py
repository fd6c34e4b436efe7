"""The rule of a gate: pairs of restricted times -> PASS, IMPROVED, REGRESSION or INCONCLUSIVE. Torch-free.

All tests are e-processes on the sizes of paired differences of log times (`sequential.log_e_sizes`), so the rule may be
applied after any number of pairs. With several cells, a pair is one replica of a task, with the mean difference over
its softmaxes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np

from grokbench import evidence, figures, sequential, stats
from grokbench.evidence import Evidence
from grokbench.stats import Floats, Interval

FIRST_LOOK, GROWTH = 8, 1.5  # pairs at the first look, and by how much their number grows from look to look
MOST_MORE, PATHS, POWER = 400, 200, 0.8  # for the number of pairs that are still needed


class Outcome(Enum):
    PASS = "PASS"
    IMPROVED = "IMPROVED"
    REGRESSION = "REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"


class Tests(NamedTuple):
    """p-values. late: T_candidate > (1 + margin) · T_baseline; fine: the reverse, for first crossings and sustained
    times; rare: fewer runs grok; early: the first crossing is earlier.
    """

    late: float
    late_sustained: float
    rare: float
    fine: float
    fine_sustained: float
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
    level; PASS if both times are shown to be within the margin, each at the level; IMPROVED if, besides, first
    crossings are shown to be earlier.
    """
    tests = Tests(*(sequential.p_value_sizes(side) for side in _sides(cells, margin)))
    return _outcome(tests, level), tests


def decide(cells: Sequence[Evidence], margin: float, level: float) -> Decision:
    """The outcome by `rule` with all that explains it."""
    outcome, tests = rule(cells, margin, level)
    candidate, baseline = (evidence.stack(cells, f"{arm}.first") for arm in ("candidate", "baseline"))
    held = [evidence.stack(cells, f"{arm}.sustained") for arm in ("candidate", "baseline")]
    grokked = [int(sum((getattr(e, arm).first < e.never).sum() for e in cells)) for arm in ("baseline", "candidate")]
    interval = stats.ratio_interval(candidate, baseline, np.random.default_rng(0))
    ratio, sustained = stats.restricted_ratio(candidate, baseline), stats.restricted_ratio(held[0], held[1])
    more = _more(_sides(cells, margin), level) if outcome is Outcome.INCONCLUSIVE else None
    shown = f"time ratio {ratio:.2f}" + (
        f" ({interval[0]:.2f}–{interval[1]:.2f})" if math.isfinite(interval[1]) else ""
    )
    reason = _reason(outcome, tests, level, margin, shown, f"sustained {sustained:.2f}", grokked, more)
    pairs = max(len(e.order) for e in cells)
    return Decision(outcome, reason, pairs, tests, ratio, interval, sustained, (grokked[0], grokked[1]), more)


def _sides(cells: Sequence[Evidence], margin: float) -> list[Floats]:
    """For each of `Tests`, the differences of pairs in order, negative where they speak for it."""

    def differences(field: str, factor: float, side: str) -> Floats:
        own = [
            evidence.compare(
                "first",
                factor,
                e.cell,
                e.block,
                replace(e.baseline, value=getattr(e.baseline, field)),
                replace(e.candidate, value=getattr(e.candidate, field)),
                e.never,
                order=e.order,
            )
            for e in cells
        ]
        return figures.in_order(figures.sums(own, side)) * len({e.block for e in cells}) / len(cells)

    gone = [_missing(e) for e in cells]
    rare = figures.in_order(figures.sums(gone, "forward"))
    # Where a censored time leaves the side of the margin open, forward counts it against being fine, and reverse
    # against being late; see `evidence.compare`.
    times = {f: (differences(f, 1 + margin, "reverse"), differences(f, 1 + margin, "forward")) for f in _FIELDS}
    early = differences("first", 1.0, "forward")
    return [-times["first"][0], -times["sustained"][0], rare, times["first"][1], times["sustained"][1], early]


_FIELDS = ("first", "sustained")


def _missing(e: Evidence) -> Evidence:
    """Evidence whose differences are negative where the baseline alone grokked."""
    values = [(sample.first < e.never).astype(float) for sample in (e.baseline, e.candidate)]
    samples = [replace(sample, value=v) for sample, v in zip((e.baseline, e.candidate), values, strict=True)]
    return evidence.compare("reached", 1.0, e.cell, e.block, samples[1], samples[0], e.never, order=e.order)


def _outcome(tests: Tests, level: float) -> Outcome:
    if min(tests.late, tests.late_sustained, tests.rare) <= level / 3:
        return Outcome.REGRESSION
    if max(tests.fine, tests.fine_sustained) <= level:
        return Outcome.IMPROVED if tests.early <= level else Outcome.PASS
    return Outcome.INCONCLUSIVE


def _more(sides: Sequence[Floats], level: float) -> int | None:
    """Pairs that would decide with a probability of 80 % if they went on as those so far."""
    rng = np.random.default_rng(0)
    n = len(sides[0])
    drawn = rng.integers(0, n, (PATHS, MOST_MORE))
    paths = [sequential.log_e_sizes(np.hstack([np.broadcast_to(s, (PATHS, n)), s[drawn]]))[:, n:] for s in sides]
    reached = [path >= -math.log(level) for path in paths]
    alarmed = [path >= -math.log(level / 3) for path in paths[:3]]
    ever = [np.logical_or.accumulate(own, 1) for own in (*alarmed, *reached[3:5])]
    decided = ever[0] | ever[1] | ever[2] | (ever[3] & ever[4])
    share = decided.mean(0)
    return int((share >= POWER).argmax()) + 1 if share[-1] >= POWER else None


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
        need = f"about {more} more pairs would decide" if more else f"undecided for {MOST_MORE} more pairs"
        return f"neither within {margin:.0%} nor beyond it: {ratio}, {sustained}; {need}"
    p = max(tests.fine, tests.fine_sustained)
    line = f"first crossings and sustained times are within {margin:.0%}, p {p:.2g}; {ratio}, {sustained}"
    return f"earlier, p {tests.early:.2g}; {line}" if outcome is Outcome.IMPROVED else line
