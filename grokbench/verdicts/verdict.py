"""Claim + records -> verdicts. Needs no training and no torch, and gives the same numbers every time."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from grokbench.claims import Cell, Claim, Question
from grokbench.stats import paired, power, sequential
from grokbench.stats.course import follow, needed
from grokbench.stats.paired import Floats
from grokbench.verdicts import robust
from grokbench.verdicts.endpoint import Endpoint
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.pairs import Evidence, blocks_of, stack, stack_arms, together
from grokbench.verdicts.robust import Robust


class Status(Enum):
    """What the evidence says of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"  # the reverse is significant
    INCONCLUSIVE = "inconclusive"  # neither is: more replicas may decide


@dataclass(frozen=True)
class Verdict:
    """The judgement of a question in one cell, or pooled over its cells (`cell` None).

    pairs: replicas that both arms trained, the same random stream in each. p and p_adjusted: of the claim, before and
    after adjustment over so many `cells`: closed testing if it is sequential, Holm's else. p_reverse and
    p_reverse_adjusted: of its reverse. ratio: of the candidate's time to the baseline's, with its interval: if it is
    sequential, the factor at which the pairs are even, else the ratio of restricted means (of mean distances from the
    median for the endpoint `spread`); None where the endpoint has none or the data do not tell. logrank: two-sided, not
    paired, secondary. runs, grokked and median (of what the endpoint compares): by arm. rate: difference of the shares
    that grokked, with its interval. sustained: the ratio for sustained times; inverted: it lies on the other side of 1.
    robust: how far it depends on the budget and on first crossings, of sequential verdicts on times. more: pairs that
    would probably decide. settings: what tuning chose, by arm. unlike: pairs whose arms were rounded otherwise; see
    `Evidence`. difference: of the arms' means, instead of a ratio. blocks: independent pairs; least: the smallest p
    that so many can have.
    """

    question: Question
    cell: Cell | str | None
    pairs: int
    p: float
    p_reverse: float
    status: Status = Status.INCONCLUSIVE
    p_adjusted: float = 1.0
    p_reverse_adjusted: float = 1.0
    cells: int = 1
    ratio: float | None = None
    interval: paired.Interval | None = None
    logrank: float | None = None
    runs: dict[str, int] = field(default_factory=dict)
    grokked: dict[str, int] = field(default_factory=dict)
    median: dict[str, float | None] = field(default_factory=dict)
    rate: float | None = None
    rate_interval: paired.Interval | None = None
    sustained: float | None = None
    robust: Robust | None = None
    more: int | None = None
    settings: tuple[str, ...] = ()
    note: str = ""
    unlike: int = 0
    difference: float | None = None
    blocks: int = 0
    least: float = 0.0

    @property
    def claim(self) -> str:
        return self.question.name

    @property
    def arms(self) -> tuple[str, ...]:
        return self.question.labels

    @property
    def level(self) -> float:
        return self.question.level

    @property
    def endpoint(self) -> Endpoint:
        return ENDPOINTS[self.question.test]

    @property
    def tabled(self) -> bool:
        """Whether it is shown cell by cell, in a table of its claim."""
        return self.endpoint.tabled and self.question.pooled and self.question.per_cell

    @property
    def id(self) -> str:
        return f"{self.claim}[{self.cell or 'pooled'}]"

    @property
    def supported(self) -> bool:
        return self.status is Status.SUPPORTED

    @property
    def open(self) -> bool:
        """Whether it is a verdict in a cell, and more runs may decide it."""
        return self.status is Status.INCONCLUSIVE and self.cell is not None

    @property
    def futile(self) -> bool:
        """Whether it stopped since no outcome of the pairs left to it could have decided it."""
        most = self.question.replicas if isinstance(self.question, Claim) and self.question.sequential else 0
        return self.status is Status.INCONCLUSIVE and self.pairs < most

    @property
    def fragile(self) -> bool:
        """Whether it would not stand with half of the budget, or not for sustained times."""
        return self.robust is not None and self.robust.fragile

    @property
    def inverted(self) -> bool:
        return self.ratio is not None and self.sustained is not None and (self.ratio - 1) * (self.sustained - 1) < 0

    @property
    def decided(self) -> bool:
        """Whether the records of the other cells cannot change the status; see `paired.holm`."""
        return (
            self.question.sequential
            or self.status is not Status.INCONCLUSIVE
            or min(self.p, self.p_reverse) > self.level
        )

    def __str__(self) -> str:
        place = str(self.cell) if self.cell else "pooled"
        return f"{place}: {self.status.value}: {self.reason}"

    @property
    def reason(self) -> str:
        """One line that says why."""
        if not self.arms:
            return self.note
        apart = f"; in {self.unlike} of {self.pairs} pairs the arms were trained by unlike arithmetic"
        return self._why() + apart * bool(self.unlike)

    def _why(self) -> str:
        if self.status is Status.INCONCLUSIVE:
            return self._why_undecided()
        p = self.p_adjusted if self.supported else self.p_reverse_adjusted
        line = f"{self.endpoint.finding(self)}, adjusted p {p:.2g}"
        turned = self.ratio is not None and (self.ratio > 1) == self.supported
        if turned and self.question.margin == 1 and not self.question.sequential:
            line += "; but a few late or missing times turn the ratio of the means"
        if self.inverted:
            line += f"; sustained times point the other way, ratio {self.sustained:.2f}"
        return line

    def _why_undecided(self) -> str:
        if self.endpoint.timed and not any(self.grokked.values()):
            return "no run reached it: raise the budget, unless they diverged"
        smallest = min(self.p_adjusted, self.p_reverse_adjusted)
        pairs = f"{self.pairs} {self.question.unit}{'s' * (self.pairs != 1)}"
        if (self.cell or self.tabled) and self.least > self.level:
            most = sequential.fewest(self.question.bound) if self.question.sequential and self.cell else 0
            need = f"; {most} pairs can" if most else f": the smallest possible adjusted p is {min(self.least, 1):.2g}"
            held = self._counted if self.cell else f"{self.blocks} independent {self.question.unit}s"
            return f"{held} cannot decide{need}"
        what = self.endpoint.undecided(self)
        line = f"{what}, " if what else ""
        count = pairs if self.question.paired else f"{sum(self.runs.values())} runs"
        line += (
            f"adjusted p {smallest:.{2 if float(f'{smallest:.2g}') > self.level else 4}g} > {self.level} with {count}"
        )
        if self.futile:
            line += "; it stopped there, since no outcome of the other pairs that were allowed could decide it"
        if self.cell:
            each = " in each arm" * (not self.question.paired)
            line += (
                f"; about {self.more} more{each} would decide"
                if self.more
                else f"; over {power.MOST} more{each} would be needed"
            )
        return line

    @property
    def _counted(self) -> str:
        """What a cell holds."""
        if self.question.paired:
            return f"{self.pairs} {self.question.unit}{'s' * (self.pairs != 1)}"
        return " runs against ".join(str(self.runs[label]) for label in self.arms[::-1])


def judge(
    question: Question, cells: Sequence[Evidence], family: int, unfinished: Sequence[Evidence] = ()
) -> list[Verdict]:
    """The verdicts of these cells, of a family of so many.

    A sequential question is adjusted by closed testing (`stats.course`), in which a cell without evidence counts as an
    e-value of 0, and the unfinished ones with the pairs that they have; any other by Holm over the whole family, in
    which they count with p = 1. So no verdict can be taken back by what is still to come.
    """
    found = [replace(figures(question, (e,)), cell=e.cell, settings=e.settings) for e in cells]
    return correct(found, [(e,) for e in cells], family, unfinished)


def correct(
    verdicts: Sequence[Verdict],
    evidence: Sequence[Sequence[Evidence]],
    family: int,
    unfinished: Sequence[Evidence] = (),
) -> list[Verdict]:
    """Decide verdicts of one family, of whatever questions, all of them sequential or none; see `judge`.

    evidence: of each verdict, of its cell or of all the cells of a pooled one.
    """
    verdicts = [replace(v, cells=family) for v in verdicts]
    if verdicts and verdicts[0].question.sequential:
        return _closed(verdicts, evidence, family, unfinished)
    missing = [1.0] * (family - len(verdicts))
    forward, reverse, least = (
        paired.holm([*p, *missing])
        for p in ([v.p for v in verdicts], [v.p_reverse for v in verdicts], [v.least for v in verdicts])
    )
    sides = zip(verdicts, forward, reverse, least, strict=False)
    judged = [_decide(replace(v, least=possible), p, q) for v, p, q, possible in sides]
    return [replace(v, more=_more(v, e[0])) if v.open else v for v, e in zip(judged, evidence, strict=True)]


def _closed(
    verdicts: Sequence[Verdict],
    evidence: Sequence[Sequence[Evidence]],
    family: int,
    unfinished: Sequence[Evidence],
) -> list[Verdict]:
    """By closed testing over mean e-values."""
    gaps = [together(cells, lambda e: e.differences) for cells in (*evidence, *([e] for e in unfinished))]
    level = verdicts[0].question.bound
    course = follow(gaps, family, level)
    judged = []
    for i, (v, p, q) in enumerate(zip(verdicts, course.p_adjusted, course.p_reverse_adjusted, strict=False)):
        decided = _robust(_decide(v, float(p), float(q)), evidence[i])
        if decided.open:
            sign = 1 if v.p <= v.p_reverse else -1
            others = [_log_e(sign * gap) for j, gap in enumerate(gaps) if j != i]
            target = needed(np.array(others), family, level)
            decided = replace(decided, more=power.more_needed(sign * gaps[i], target))
        judged.append(decided)
    return judged


def _log_e(gaps: Floats) -> float:
    return float(sequential.log_e_sizes(gaps)[-1]) if len(gaps) else 0.0


def pool(question: Question, cells: Sequence[Evidence] = (), family: int = 1) -> Verdict:
    """The verdict over these cells together; corrected by Bonferroni if it is one of so many that could be asked."""
    verdict = figures(question, tuple(cells))
    verdict = replace(verdict, cells=family, least=min(1.0, verdict.least * family))
    verdict = _decide(verdict, min(1.0, verdict.p * family), min(1.0, verdict.p_reverse * family))
    return _robust(verdict, cells) if question.sequential else verdict


def _decide(verdict: Verdict, p: float, p_reverse: float) -> Verdict:
    """p, p_reverse: adjusted over the cells."""
    p, p_reverse, least = (min(1.0, side * verdict.question.comparisons) for side in (p, p_reverse, verdict.least))
    # p-values of a sequential test keep the best that either side ever had, so both can be small; the smaller decides
    supported, refuted = p <= verdict.level and p <= p_reverse, p_reverse <= verdict.level
    status = Status.SUPPORTED if supported else Status.REFUTED if refuted else Status.INCONCLUSIVE
    return replace(verdict, status=status, p_adjusted=p, p_reverse_adjusted=p_reverse, least=least)


def _robust(verdict: Verdict, cells: Sequence[Evidence]) -> Verdict:
    """With what it says of other budgets and of sustained times, if it is decided, of runs and about times."""
    of_runs = isinstance(verdict.question, Claim) and verdict.endpoint.tabled
    if verdict.status is Status.INCONCLUSIVE or not of_runs:
        return verdict
    return replace(verdict, robust=robust.of(verdict.question, cells, verdict.supported))


def _more(verdict: Verdict, e: Evidence) -> int | None:
    """Pairs that would decide a cell with a probability of 80 % if they are like those so far; runs in each arm where
    nothing is paired.
    """
    level = verdict.question.bound / verdict.cells
    if not verdict.question.paired:
        c, b = (verdict.endpoint.scale(sample.value) for sample in (e.candidate, e.baseline))
        return power.runs_needed(c, b, level)
    side = e.differences if verdict.p <= verdict.p_reverse else -e.differences
    moved = side[side != 0]
    if len(moved) < 2 or moved.mean() >= 0:
        return None
    ties = 1 - len(moved) / len(side)
    total = power.flips_needed(float(-moved.mean()), float(moved.std(ddof=1)), ties, level)
    return max(1, total - len(side)) if total else None


@functools.lru_cache(maxsize=1024)  # one invocation asks for the same ones several times
def figures(question: Question, cells: tuple[Evidence, ...]) -> Verdict:
    """All numbers of a pooled verdict over these cells, before it is decided.

    Random draws are the same whenever the same thing is judged again.
    """
    rng = np.random.default_rng(0)  # no name moves a number
    endpoint = ENDPOINTS[question.test]
    p, p_reverse, note = endpoint.test(question, cells, rng)
    if not cells:
        return Verdict(question, None, 0, p, p_reverse, note=note)
    arms = [e.baseline for e in cells], [e.candidate for e in cells]
    never = [e.never for e in cells]
    reached = [[s.first < end for s, end in zip(arm, never, strict=True)] for arm in arms]
    medians, attained = {}, False
    for label, arm in zip(question.labels, arms, strict=True):
        counted = [endpoint.counts(s.value, end) for s, end in zip(arm, never, strict=True)]
        medians[label] = paired.median(np.concatenate([s.value for s in arm]), np.concatenate(counted))
        attained = attained or any(c.any() for c in counted)
    rate, rate_interval = None, None
    if question.paired and endpoint.crossings:
        rate, rate_interval = paired.rate_difference(
            stack(cells, lambda e: (e.candidate.first < e.never).astype(float)),
            stack(cells, lambda e: (e.baseline.first < e.never).astype(float)),
        )
    ratio, interval, sustained = None, None, None
    known = (
        endpoint.timed and endpoint.tabled and attained and not any(np.isnan(e.baseline.sustained).all() for e in cells)
    )
    if question.sequential and endpoint.timed:
        if attained:
            ratio, interval = endpoint.ratio_so_far(cells)
        if known:
            sustained, _ = endpoint.ratio_so_far(cells, lambda sample: sample.sustained)
    else:
        ratio, interval = endpoint.size(question, cells, rng)
        if known:
            sustained = paired.restricted_ratio(*stack_arms(cells, lambda s: s.sustained))
    return Verdict(
        question,
        None,
        sum(len(e.differences) for e in cells),
        p,
        p_reverse,
        ratio=ratio,
        interval=interval,
        logrank=paired.logrank(*([(s.first, r) for s, r in zip(arms[i], reached[i], strict=True)] for i in (1, 0)))
        if endpoint.crossings
        else None,
        runs={label: sum(map(len, r)) for label, r in zip(question.labels, reached, strict=True)},
        grokked={label: int(sum(map(np.sum, r))) for label, r in zip(question.labels, reached, strict=True)},
        median=medians,
        rate=rate,
        rate_interval=rate_interval,
        sustained=sustained,
        note=note,
        unlike=int(sum(e.unlike.sum() for e in cells)),
        difference=endpoint.difference(cells),
        blocks=blocks_of(cells) if question.paired else 0,
        least=endpoint.least(question, cells),
    )
