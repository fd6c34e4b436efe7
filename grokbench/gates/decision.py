"""The rule of a gate: pairs of restricted times -> PASS, IMPROVED, REGRESSION or INCONCLUSIVE. Torch-free.

All tests are e-processes on paired differences, so the rule may be applied after any number of pairs. With the margin m
and the budget B, times are cut where both arms can be seen: T_candidate at B + 1, and (1 + m) · T_baseline there, too.
If the candidate is exactly by the margin later, these two are exchangeable within a pair, censored or not. Where cells
are taken together, a pair is one replica of a task, with the mean difference over its softmaxes.

What speaks for the candidate has to be shown in every cell. Each of these tests is at the full level: an
intersection–union test needs no correction (Berger 1982, Technometrics 24). What speaks against it may be seen in all
cells together or in one, corrected by Bonferroni.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grokbench.claims import Cell
from grokbench.stats import paired, sequential
from grokbench.stats.paired import Floats, Interval

FIRST_LOOK, GROWTH = 8, 1.4  # pairs at the first look, and by how much their number grows from look to look
# A minority of pairs may be lost by far while a typical pair is within the margin. PASS shows that this minority, over
# the one that is won by far, is less than this share; a smaller one would take more pairs (13 at the least for 0.25).
SHARE, FAR = 0.25, 2.0
MOST_MORE, PATHS, POWER = 400, 200, 0.8  # for the number of pairs that are still needed

Kind = Literal["first", "sustained"]
KINDS: tuple[Kind, Kind] = ("first", "sustained")


class GateOutcome(Enum):
    PASS = "PASS"
    IMPROVED = "IMPROVED"
    REGRESSION = "REGRESSION"
    INCONCLUSIVE = "INCONCLUSIVE"


@dataclass(frozen=True, eq=False)
class Times:
    """An arm's restricted times in a cell, in epochs, arrays (n,) by replica; `never` of the pairs for none."""

    first: Floats
    sustained: Floats

    def of(self, kind: Kind) -> Floats:
        return self.first if kind == "first" else self.sustained


@dataclass(frozen=True, eq=False)
class Pairs:
    """The first n pairs of a cell. never: the restricted time of a run that did not grok, budget + 1."""

    cell: Cell
    never: float
    baseline: Times
    candidate: Times

    def __len__(self) -> int:
        return len(self.baseline.first)

    @property
    def grokked(self) -> tuple[int, int]:
        """How many runs did, of the baseline and of the candidate."""
        return int((self.baseline.first < self.never).sum()), int((self.candidate.first < self.never).sum())

    def ratio(self, kind: Kind) -> float | None:
        """Candidate's over baseline's restricted mean time; None if no run of either arm has such a time."""
        baseline, candidate = self.baseline.of(kind), self.candidate.of(kind)
        if min(baseline.min(), candidate.min()) >= self.never:
            return None
        return paired.restricted_ratio([candidate[None]], [baseline[None]])


class Tests(NamedTuple):
    """p-values. late: T_candidate > (1 + margin) · T_baseline, for first crossings and sustained times; rare: fewer
    runs grok by then; all three corrected over cells. fine: the reverse of late; few: the share of pairs lost by far
    exceeds the share won by far by less than `SHARE`; both of the cell in which they are largest. early: the first
    crossing is earlier, all cells together.
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
    """The outcome with its reason.

    ratio: the factor between the candidate's times and the baseline's at which the pairs are even, with an interval
    that holds it at 95 % whenever one looks; None where there is none, as if one arm never groks. sustained_ratio: that
    of sustained times. grokked: runs of baseline and candidate. more: pairs that would probably decide, None if more
    than 400 or decided.
    """

    outcome: GateOutcome
    reason: str
    pairs: int
    tests: Tests
    ratio: float | None
    interval: Interval | None
    sustained_ratio: float | None
    grokked: tuple[int, int]
    more: int | None = None


def looks(most: int) -> list[int]:
    """After how many pairs to decide, at most `most`."""
    found, count = [], float(FIRST_LOOK)
    while count < most:
        found.append(round(count))
        count *= GROWTH
    return [*found, most]


def rule(cells: Sequence[Pairs], margin: float, level: float) -> tuple[GateOutcome, Tests]:
    """What these cells' pairs say.

    REGRESSION if one of three guards, for first crossings, sustained times and grok rates, reaches a third of the
    level. PASS if, in every cell, both times are shown to be within the margin and few pairs to be lost by far, each at
    the level, and the ratios of mean times, as seen, are within the margin. IMPROVED if, besides, first crossings are
    shown to be earlier.
    """
    tests = _tests(cells, margin)
    if min(tests.late, tests.late_sustained, tests.rare) <= level / 3:
        return GateOutcome.REGRESSION, tests
    shown = max(tests.fine, tests.fine_sustained, tests.few) <= level
    if not shown or any((e.ratio(kind) or 0.0) > 1 + margin for e in cells for kind in KINDS):
        return GateOutcome.INCONCLUSIVE, tests
    return GateOutcome.IMPROVED if tests.early <= level else GateOutcome.PASS, tests


def _ratio_so_far(cells: Sequence[Pairs], kind: Kind) -> tuple[float | None, Interval | None]:
    """The factor at which the pairs are even, and its interval: a factor f is tested as a margin of f − 1 would be."""
    return sequential.ratio(lambda x: _differences(cells, kind, math.expm1(x)), math.log(cells[0].never) + 1)


def _said(ratio: float | None) -> str:
    if ratio is None:
        return "unknown"
    return "∞" if math.isinf(ratio) else f"{ratio:.2f}"


def _p(side: Floats) -> float:
    return min(1.0, float(np.exp(-sequential.log_e_sizes(side)[-1])))


def _tests(cells: Sequence[Pairs], margin: float) -> Tests:
    def guarded(side: Callable[[Sequence[Pairs]], Floats]) -> float:
        """Of all cells together or of the worst, corrected for looking at both."""
        if len(cells) == 1:
            return _p(side(cells))
        return min(1.0, 2 * _p(side(cells)), 2 * len(cells) * min(_p(side([e])) for e in cells))

    return Tests(
        late=guarded(lambda some: -_differences(some, "first", margin)),
        late_sustained=guarded(lambda some: -_differences(some, "sustained", margin)),
        rare=guarded(lambda some: -_missing(some, margin)),
        fine=max(_p(_differences([e], "first", margin)) for e in cells),
        fine_sustained=max(_p(_differences([e], "sustained", margin)) for e in cells),
        few=max(map(_p_few, cells)),
        early=_p(_differences(cells, "first", 0.0)),
    )


def _p_few(e: Pairs) -> float:
    return min(1.0, float(np.exp(-sequential.log_e_share(_far(e), SHARE)[-1])))


def decide(cells: Sequence[Pairs], margin: float, level: float) -> Decision:
    """The outcome by `rule` with all that explains it."""
    outcome, tests = rule(cells, margin, level)
    grokked = sum(e.grokked[0] for e in cells), sum(e.grokked[1] for e in cells)
    pairs = len(cells[0])
    if not any(grokked):
        reason = f"no run of either arm grokked within {cells[0].never - 1:g} epochs: raise --budget"
        return Decision(outcome, reason, pairs, tests, None, None, None, grokked)
    (ratio, interval), (sustained, _) = (_ratio_so_far(cells, kind) for kind in KINDS)
    more = _more(cells, margin, level) if outcome is GateOutcome.INCONCLUSIVE else None
    ends = ""
    if interval and interval != (0.0, math.inf):
        ends = f" ({_said(interval[0])}–{_said(interval[1])})"
    shown = f"time ratio {_said(ratio)}{ends}, sustained {_said(sustained)}"
    if outcome is GateOutcome.REGRESSION:
        reason = f"{_regression(tests, margin, level, grokked)}; {shown}"
    elif outcome is GateOutcome.INCONCLUSIVE:
        need = f"about {more} more pair{'s' * (more != 1)} would decide" if more else "many more pairs would not decide"
        reason = f"{_lacking(cells, margin, level)}; {shown}; {need}"
    else:
        p = max(tests.fine, tests.fine_sustained, tests.few)
        everywhere = f" in each of {len(cells)} cells" if len(cells) > 1 else ""
        reason = f"first crossings and sustained times are within {margin:.0%}{everywhere}, p {p:.2g}; {shown}"
        if outcome is GateOutcome.IMPROVED:
            reason = f"earlier, p {tests.early:.2g}; {reason}"
    return Decision(outcome, reason, pairs, tests, ratio, interval, sustained, grokked, more)


def _regression(tests: Tests, margin: float, level: float, grokked: tuple[int, int]) -> str:
    guards = (
        (f"first crossings are more than {margin:.0%} later", tests.late),
        (f"sustained grok times are more than {margin:.0%} later", tests.late_sustained),
        (f"fewer runs grok, {grokked[1]} instead of {grokked[0]}", tests.rare),
    )
    return "; ".join(f"{name}, p {p:.2g}" for name, p in guards if p <= level / 3)


def _lacking(cells: Sequence[Pairs], margin: float, level: float) -> str:
    """What keeps it from a PASS, in the first cell that lacks anything, and what keeps that from being a REGRESSION."""
    for e in cells:
        where, n = f" in {e.cell}" * (len(cells) > 1), len(e)
        for kind, times in zip(KINDS, ("first crossings", "sustained times"), strict=True):
            ratio, differences = e.ratio(kind) or 0.0, _differences([e], kind, margin)
            fine = int((differences <= 0).sum())
            if ratio > 1 + margin:
                return f"mean {times}{where} are later by {ratio:.2f}; {fine} of {n} pairs are within {margin:.0%}"
            if _p(differences) > level:
                return f"{times}{where} are not yet shown to be within {margin:.0%}: {fine} of {n} pairs are"
        if _p_few(e) > level:
            far = _far(e)
            lost, won = int((far > 0).sum()), int((far < 0).sum())
            limit = f"the share lost by far, over that won, is below {SHARE:.0%}"
            return f"{n} pairs{where}, {lost} lost by far and {won} won, are too few to show that {limit}"
    raise AssertionError("what lacks nothing is a PASS")


def _cut(e: Pairs, kind: Kind, margin: float) -> tuple[Floats, Floats]:
    """Candidate's times and the baseline's times 1 + margin, both cut where both can be seen."""
    end = e.never * min(1.0, 1 + margin)
    return np.minimum(e.candidate.of(kind), end), np.minimum(e.baseline.of(kind) * (1 + margin), end)


def _in_order(cells: Sequence[Pairs], value: Callable[[Pairs], Floats]) -> Floats:
    """One number for each replica of a task, the mean over its softmaxes, replica by replica."""
    tasks: dict[str, list[Floats]] = {}
    for e in cells:
        tasks.setdefault(e.cell.task.name, []).append(value(e))
    return np.stack([np.mean(own, 0) for own in tasks.values()], 1).ravel()


def _differences(cells: Sequence[Pairs], kind: Kind, margin: float) -> Floats:
    """log T_candidate − log((1 + margin) · T_baseline), negative where the candidate is within the margin."""

    def difference(e: Pairs) -> Floats:
        candidate, baseline = _cut(e, kind, margin)
        return np.asarray(np.log(candidate) - np.log(baseline))

    return _in_order(cells, difference)


def _missing(cells: Sequence[Pairs], margin: float) -> Floats:
    """1 where the candidate alone did not grok, −1 where the baseline alone did not, by its share of the budget."""

    def missing(e: Pairs) -> Floats:
        candidate, baseline = _cut(e, "first", margin)
        return (candidate >= e.never).astype(np.float64) - (baseline >= e.never)

    return _in_order(cells, missing)


def _far(e: Pairs) -> Floats:
    """1 where the candidate is `FAR` times as late or did not grok, −1 where the baseline is or did not."""
    c, b = _cut(e, "first", 0.0)
    lost = (c >= FAR * b) | ((c >= e.never) & (b < e.never))
    won = (b >= FAR * c) | ((b >= e.never) & (c < e.never))
    return lost.astype(np.float64) - won


def _more(cells: Sequence[Pairs], margin: float, level: float) -> int | None:
    """Pairs in each cell that would decide with a probability of 80 % if they went on as those so far."""
    rng = np.random.default_rng(0)
    bound = level / 3 / (2 * len(cells) if len(cells) > 1 else 1)
    passed, alarmed = np.ones((PATHS, MOST_MORE), dtype=bool), np.zeros((PATHS, MOST_MORE), dtype=bool)
    for e in cells:
        n = len(e)
        drawn = rng.integers(0, n, (PATHS, MOST_MORE))

        def reached(
            side: Floats,
            bound: float,
            log_e: Callable[[Floats], Floats] = sequential.log_e_sizes,
            n: int = n,
            drawn: NDArray[np.int64] = drawn,
        ) -> NDArray[np.bool_]:
            path = np.hstack([np.broadcast_to(side, (PATHS, n)), side[drawn]])
            return np.asarray(log_e(path)[:, n:] >= -math.log(bound))

        passed &= reached(_far(e), level, lambda d: sequential.log_e_share(d, SHARE))
        for kind in KINDS:
            side = _differences([e], kind, margin)
            passed &= reached(side, level)
            alarmed |= reached(-side, bound)
        alarmed |= reached(-_missing([e], margin), bound)
    share = np.logical_or.accumulate(passed | alarmed, 1).mean(0)
    return int((share >= POWER).argmax()) + 1 if share[-1] >= POWER else None
