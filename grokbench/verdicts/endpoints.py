"""What can be tested of a candidate against a baseline: one object for each kind of test.

An endpoint takes a value from every record, makes a difference of every pair, tests the differences, and words what was
found. A new one is one more object in `ENDPOINTS`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats as scipy_stats

from grokbench.claims import Audit, Comparison, Question
from grokbench.claims.claim import Cell
from grokbench.records.grok import GrokTime
from grokbench.records.store import Record
from grokbench.stats import inversion, paired, permutation, unpaired
from grokbench.stats.paired import Floats, Interval
from grokbench.verdicts.endpoint import Endpoint, Found, Tested
from grokbench.verdicts.pairs import (
    Evidence,
    arms_of,
    evaluated_alike,
    evened,
    stack,
    stack_arms,
    sums,
    told,
)


class Time(Endpoint):
    """A grok time is earlier. time: of a run, None where there was none."""

    timed = True

    def __init__(
        self, name: str, meaning: str, time: Callable[[GrokTime], int | None], *, tabled: bool = False
    ) -> None:
        super().__init__(name, meaning, tabled=tabled)
        self._time = time

    def value(self, record: Record, never: float) -> float:
        return self._time(record.time) or never

    def size(
        self, question: Question, cells: Sequence[Evidence], rng: np.random.Generator
    ) -> tuple[float | None, Interval | None]:
        """The ratio of mean times; where a run of a table never got there, the factor that its test leaves."""
        reached = [self.counts(s.value, e.never) for e in cells for s in (e.baseline, e.candidate)]
        if not any(r.any() for r in reached):
            return None, None
        if question.paired:
            cells = [evened(e) for e in cells]
        if isinstance(question, Comparison) and not all(r.all() for r in reached):
            return self._factor(question, cells)
        ratio = paired.restricted_ratio(*stack_arms(cells, lambda sample: sample.value))
        if not question.paired:
            candidate, baseline = ([s.value for s in arm] for arm in arms_of(cells))
            return ratio, unpaired.ratio_interval(candidate, baseline)
        gaps = np.concatenate([np.log(e.candidate.value / e.baseline.value) for e in cells])
        if isinstance(question, Comparison) and np.ptp(gaps) < 1e-12:  # nothing tells how they vary
            return ratio, None
        return ratio, paired.ratio_interval(*stack_arms(cells, lambda s: s.value), rng)

    def _factor(self, question: Question, cells: Sequence[Evidence]) -> tuple[float | None, Interval]:
        """As a margin of the same size would be tested, so censoring takes nothing from the level."""
        earliest = min(float(s.value.min()) for e in cells for s in (e.baseline, e.candidate))
        widest = math.log(max(e.never for e in cells) / earliest) + 1
        if not question.paired:

            def samples(x: float) -> list[tuple[Floats, Floats]]:
                return [self._logs(e.baseline.value, e.candidate.value, e.never, math.exp(x)) for e in cells]

            def extremes(x: float, side: int) -> list[tuple[Floats, Floats]]:
                margin = math.exp(x)
                return [self._logs(*evaluated_alike(e, margin, side), e.never, margin) for e in cells]

            return inversion.by_permutations(samples, widest, bounds=extremes if told(cells) else None)
        candidate, baseline = stack_arms(cells, lambda s: s.value)
        never = stack(cells, lambda e: np.full(len(e.differences), e.never))

        def differences(x: float) -> Floats:
            of = functools.partial(self.differences, margin=math.exp(x))
            return np.concatenate([np.nansum(of(*block), 0) for block in zip(baseline, candidate, never, strict=True)])

        def bounds(x: float, side: int) -> Floats:
            return np.concatenate(sums(cells, functools.partial(self._bound, margin=math.exp(x), side=side)))

        return inversion.by_signs(differences, widest, bounds=bounds if told(cells) else None)

    def counts(self, value: Floats, never: float) -> NDArray[np.bool_]:
        return value < never

    def finding(self, v: Found) -> str:
        word, margin = ("earlier" if v.supported else "later"), v.question.margin
        if margin != 1:
            word = f"{'less' if v.supported else 'more'} than {margin:g} times as late"
        return f"{v.arms[1]} is {word}: {self.shown_ratio(v)}"

    def undecided(self, v: Found) -> str:
        return self.shown_ratio(v)


class Count(Endpoint):
    """Something happens more often, or more of it. of: the number of a run, NaN where nothing is known of one."""

    def __init__(self, name: str, meaning: str, of: Callable[[Record], float]) -> None:
        super().__init__(name, meaning)
        self._of = of

    def value(self, record: Record, never: float) -> float:
        return self._of(record)

    def differences(
        self, baseline: Floats, candidate: Floats, never: float | Floats, margin: float, width: float = 0.0
    ) -> Floats:
        """More supports the claim; where nothing is known of one it is a tie.

        Large numbers are compared as their logs would be, small ones as they are: so a single large difference cannot
        outweigh all others.
        """
        return np.asarray(np.nan_to_num(np.arcsinh(baseline) - np.arcsinh(candidate)))

    def finding(self, v: Found) -> str:
        shown = ", ".join(f"{label} {'–' if m is None else f'{m:g}'}" for label, m in v.median.items())
        return self.worded(v, shown)

    def worded(self, v: Found, shown: str) -> str:
        return f"{v.arms[1]} {'more' if v.supported else 'less'} often than {v.arms[0]}: {shown}"


class Reached(Count):
    def finding(self, v: Found) -> str:
        return self.worded(v, ", ".join(f"{label} {n} of {v.pairs}" for label, n in v.grokked.items()))


class Spread(Endpoint):
    """Grok times lie closer to their median; of cells in which every run groks."""

    ratio_name = "spread"

    def test(self, question: Question, cells: Sequence[Evidence], rng: np.random.Generator) -> Tested:
        never: dict[object, list[float]] = {}
        for e in cells:
            never.setdefault(e.block, []).append(e.never)
        candidate, baseline = stack_arms(cells, lambda sample: sample.first)
        told = len(self._telling(cells))
        note = f"told by {told} of {len(cells)} cells, those in which every run groks"
        return *paired.spread(candidate, baseline, list(never.values()), rng), note

    def size(
        self, question: Question, cells: Sequence[Evidence], rng: np.random.Generator
    ) -> tuple[float | None, Interval | None]:
        """Geometric mean over cells of the ratio of mean distances before the median, where both arms have one."""
        pairs = [[paired.distance_before(s.first) for s in (e.candidate, e.baseline)] for e in self._telling(cells)]
        logs = [np.log(c / b) for c, b in pairs if c > 0 and b > 0]
        return (float(np.exp(np.mean(logs))) if logs else None), None

    @staticmethod
    def _telling(cells: Sequence[Evidence]) -> list[Evidence]:
        """The cells in which every run groks: where one does not, the median may be hidden."""
        return [e for e in cells if max(e.candidate.first.max(), e.baseline.first.max()) < e.never]

    def finding(self, v: Found) -> str:
        return f"{v.arms[1]} is {'tighter' if v.supported else 'wider'}: {self.shown_ratio(v)}; {v.note}"

    def undecided(self, v: Found) -> str:
        return f"{self.shown_ratio(v)}; {v.note}"


class Interaction(Endpoint):
    """The advantage differs between softmaxes by less than the advantage itself."""

    def test(self, question: Question, cells: Sequence[Evidence], rng: np.random.Generator) -> Tested:
        """Whether every difference of effects between two cells of a block is smaller than the size of the mean effect.

        An intersection–union test (Berger 1982) by sign flips of blocks: for one sign of the mean effect every ordered
        pair of softmaxes has to pass, and there are two signs; for the reverse, one pair has to differ by more than the
        mean effect of either sign, and there are as many as ordered pairs. Both are corrected by Bonferroni.
        """
        effects = [e for e in stack(cells, lambda e: e.differences) if len(e) > 1]
        if not effects or len({len(e) for e in effects}) > 1:
            return 1.0, 1.0, "needs the same softmaxes for every task"
        rows = np.concatenate([e.T for e in effects])
        rows = rows[np.isfinite(rows).all(1)]
        count = rows.shape[1]
        pairs = [(s, t) for s in range(count) for t in range(count) if s != t]
        signs: list[list[tuple[float, float]]] = [
            [permutation.sign_flip(sign * rows.mean(1) + rows[:, s] - rows[:, t], rng) for s, t in pairs]
            for sign in (1, -1)
        ]
        p = 2 * min(max(less for less, _ in found) for found in signs)
        p_reverse = len(pairs) * min(max(plus[1], minus[1]) for plus, minus in zip(*signs, strict=True))
        names = [e.cell.softmax if isinstance(e.cell, Cell) else e.cell for e in cells]
        means = np.exp(rows.mean(0))
        shown = ", ".join(f"{name} {mean:.2f}" for name, mean in zip(names, means, strict=False))
        note = f"time ratios {shown}; interaction p {paired.interaction(effects, rng):.2g}"
        return min(1.0, p), min(1.0, p_reverse), note

    def finding(self, v: Found) -> str:
        return f"the advantage {'exceeds' if v.supported else 'does not exceed'} its differences: {v.note}"


class Amount(Endpoint):
    """A quantity, such as the loss at the end of the budget, is lower or higher. Of tables alone, not of runs."""

    crossings = False

    def __init__(self, name: str, sign: int) -> None:
        super().__init__(name, f"it is {name}", tabled=True)
        self._sign = sign

    def scale(self, value: Floats) -> Floats:
        return self._sign * value

    def differences(
        self, baseline: Floats, candidate: Floats, never: float | Floats, margin: float, width: float = 0.0
    ) -> Floats:
        return self._sign * (candidate - baseline)

    def difference(self, cells: Sequence[Evidence]) -> float:
        return float(np.mean([e.candidate.value.mean() - e.baseline.value.mean() for e in cells]))

    def size(self, question: Question, cells: Sequence[Evidence], rng: np.random.Generator) -> tuple[None, Interval]:
        """No ratio; the interval is of the difference."""
        if question.paired:
            return None, paired.mean_difference([self._sign * d for d in stack(cells, lambda e: e.differences)])[1]
        candidate, baseline = ([s.value for s in arm] for arm in arms_of(cells))
        return None, unpaired.difference_interval(candidate, baseline)

    def finding(self, v: Found) -> str:
        word = self.name if v.supported else {"lower": "higher", "higher": "lower"}[self.name]
        return f"{v.arms[1]} is {word} than {v.arms[0]}: {self.undecided(v)}"

    def undecided(self, v: Found) -> str:
        assert v.difference is not None
        return f"mean difference {v.difference:+.4g}" + f"; {v.note}" * bool(v.note)


class PublishedFigures(Endpoint):
    """A published t and two-sided p can both hold. Takes no runs."""

    def test(self, question: Question, cells: Sequence[Evidence], rng: np.random.Generator) -> Tested:
        """The p of a given t is smallest with infinitely many degrees of freedom."""
        assert isinstance(question, Audit)
        t, p = question.reported
        least = smallest_p(t)
        note = (
            f"t = {t} gives a two-sided p of at least {least:.2g} for any degrees of freedom; "
            f"p = {p:.3g} needs |t| of at least {smallest_t(p):.2f}"
        )
        return 1.0, float(p >= least), note


def smallest_p(t: float) -> float:
    """The smallest two-sided p that a t statistic can have: that of infinitely many degrees of freedom."""
    return float(2 * scipy_stats.norm.sf(abs(t)))


def smallest_t(p: float) -> float:
    """The smallest |t| that can have a two-sided p."""
    return float(scipy_stats.norm.isf(p / 2))


ENDPOINTS: dict[str, Endpoint] = {
    endpoint.name: endpoint
    for endpoint in (
        Time("first", "its first crossing is earlier", lambda time: time.epoch, tabled=True),
        Time("sustained", "its sustained grok time is earlier", lambda time: time.held),
        Reached("reached", "it groks more often", lambda record: float(record.time.epoch is not None)),
        Count(
            "below",
            "it falls below the threshold more often after its first crossing",
            lambda record: float(record.time.below) if record.time.epoch else np.nan,  # else it cannot fall back
        ),
        Count(
            "collapsed",
            "more of its training rows have lost their gradient at the end",
            lambda record: record.diagnostics[-1].collapsed if record.diagnostics else np.nan,
        ),
        Amount("lower", 1),
        Amount("higher", -1),
        Spread("spread", "its grok times lie closer to their median"),
        Interaction("interaction", "its advantage differs between softmaxes by less than the advantage itself"),
        PublishedFigures("audit", "the published t and p can both hold"),
    )
}
