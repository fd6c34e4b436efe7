"""Claim + records -> verdicts. Needs no training and no torch, and gives the same numbers every time."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import numpy as np

from grokbench.claims import Cell, Question
from grokbench.stats import paired, power, sequential
from grokbench.verdicts.endpoints import ENDPOINTS, Endpoint
from grokbench.verdicts.pairs import Evidence, blocks_of, stack, stack_arms


class Status(Enum):
    """What the evidence says of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"  # the reverse is significant
    INCONCLUSIVE = "inconclusive"  # neither is: more replicas may decide


@dataclass(frozen=True)
class Verdict:
    """The judgement of a question in one cell, or pooled over its cells (`cell` None).

    pairs: replicas that both arms trained, the same random stream in each. p and p_adjusted: of the claim, before and
    after Holm's adjustment; p_reverse and p_reverse_adjusted: of its reverse. cells: over how many cells Holm's
    adjustment went. ratio: of the candidate's restricted mean time to the baseline's, with its interval (of the mean
    distances from the median for the endpoint `spread`); None where the endpoint has none. logrank: two-sided, not
    paired, secondary. runs, grokked and median (of what the endpoint compares): by arm. rate: difference of the shares
    that grokked, with its interval. sustained: the ratio for sustained times; inverted: it lies on the other side of 1.
    more: pairs that would probably decide. settings: what tuning chose, by arm. difference: of the arms' means, instead
    of a ratio. blocks: independent pairs; least: the smallest p that so many can have.
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
    more: int | None = None
    settings: tuple[str, ...] = ()
    note: str = ""
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
        return self.endpoint.tabled and self.question.pooled

    @property
    def id(self) -> str:
        return f"{self.claim}[{self.cell or 'pooled'}]"

    @property
    def supported(self) -> bool:
        return self.status is Status.SUPPORTED

    @property
    def inverted(self) -> bool:
        return self.ratio is not None and self.sustained is not None and (self.ratio - 1) * (self.sustained - 1) < 0

    @property
    def decided(self) -> bool:
        """Whether the records of the other cells cannot change the status; see `paired.holm`."""
        return self.status is not Status.INCONCLUSIVE or min(self.p, self.p_reverse) > self.level

    @property
    def reason(self) -> str:
        """One line that says why."""
        if not self.arms:
            return self.note
        if self.status is Status.INCONCLUSIVE:
            return self._why_undecided()
        p = self.p_adjusted if self.supported else self.p_reverse_adjusted
        line = f"{self.endpoint.finding(self)}, adjusted p {p:.2g}"
        if self.ratio is not None and self.question.margin == 1 and (self.ratio > 1) == self.supported:
            line += "; but a few late or missing times turn the ratio of the means"
        if self.inverted:
            line += f"; sustained times point the other way, ratio {self.sustained:.2f}"
        return line

    def _why_undecided(self) -> str:
        if self.endpoint.timed and self.pairs and self.ratio is None:
            return "no run reached it; raise the budget"
        smallest = min(self.p_adjusted, self.p_reverse_adjusted)
        pairs = f"{self.pairs} {self.question.unit}{'s' * (self.pairs != 1)}"
        if (self.cell or self.tabled) and self.least > self.level:
            most = sequential.fewest(self.level / self.cells) if self.question.sequential and self.cell else 0
            need = f"; {most} pairs can" if most else f": the smallest possible adjusted p is {min(self.least, 1):.2g}"
            held = self._counted if self.cell else f"{self.blocks} independent {self.question.unit}s"
            return f"{held} cannot decide{need}"
        what = self.endpoint.undecided(self)
        line = f"{what}, " if what else ""
        count = pairs if self.question.paired else f"{sum(self.runs.values())} runs"
        line += f"adjusted p {smallest:.2g} > {self.level} with {count}"
        if self.cell:
            each = " in each arm" * (not self.question.paired)
            line += (
                f"; about {self.more} more{each} would decide" if self.more else f"; undecided for {power.MOST} more"
            )
        return line

    @property
    def _counted(self) -> str:
        """What a cell holds."""
        if self.question.paired:
            return f"{self.pairs} {self.question.unit}{'s' * (self.pairs != 1)}"
        return " runs against ".join(str(self.runs[label]) for label in self.arms[::-1])


def judge(question: Question, cells: Sequence[Evidence], family: int) -> list[Verdict]:
    """The verdicts of these cells, of a family of so many.

    Holm's adjustment goes over the whole family; a cell without evidence counts there with p = 1, so that no verdict
    can be taken back by what is still to come.
    """
    found = [replace(figures(question, (e,)), cell=e.cell, settings=e.settings) for e in cells]
    return correct(found, cells, family)


def correct(verdicts: Sequence[Verdict], cells: Sequence[Evidence | None], family: int) -> list[Verdict]:
    """Decide verdicts of one family, of whatever questions, by Holm's adjustment; cells: None for a pooled one."""
    missing = [1.0] * (family - len(verdicts))
    forward, reverse, least = (
        paired.holm([*p, *missing])
        for p in ([v.p for v in verdicts], [v.p_reverse for v in verdicts], [v.least for v in verdicts])
    )
    return [
        _decide(replace(v, cells=family, least=possible), p, q, e)
        for v, p, q, possible, e in zip(verdicts, forward, reverse, least, cells, strict=False)
    ]


def pool(question: Question, cells: Sequence[Evidence] = (), family: int = 1) -> Verdict:
    """The verdict over these cells together; corrected by Bonferroni if it is one of so many that could be asked."""
    verdict = figures(question, tuple(cells))
    verdict = replace(verdict, cells=family, least=min(1.0, verdict.least * family))
    return _decide(verdict, min(1.0, verdict.p * family), min(1.0, verdict.p_reverse * family), None)


def _decide(verdict: Verdict, p: float, p_reverse: float, e: Evidence | None) -> Verdict:
    """e: of the cell, None for a pooled verdict."""
    # p-values of a sequential test keep the best that either side ever had, so both can be small; the smaller decides
    supported, refuted = p <= verdict.level and p <= p_reverse, p_reverse <= verdict.level
    status = Status.SUPPORTED if supported else Status.REFUTED if refuted else Status.INCONCLUSIVE
    more = _more(verdict, e) if status is Status.INCONCLUSIVE and e else None
    return replace(verdict, status=status, p_adjusted=p, p_reverse_adjusted=p_reverse, more=more)


def _more(verdict: Verdict, e: Evidence) -> int | None:
    """Pairs that would decide a cell with a probability of 80 % if they went on as those so far."""
    if not verdict.question.paired:
        c, b = (verdict.endpoint.scale(sample.value) for sample in (e.candidate, e.baseline))
        return power.runs_needed(c, b, verdict.level / verdict.cells)
    side = e.differences if verdict.p <= verdict.p_reverse else -e.differences
    wins, losses, n = int((side < 0).sum()), int((side > 0).sum()), len(side)
    level, ties = verdict.level / verdict.cells, 1 - (wins + losses) / n
    if verdict.question.sequential:
        return power.wins_needed((wins + 0.5) / (wins + losses + 1), ties, level, wins=wins, losses=losses)
    moved = side[side != 0]
    if len(moved) < 2 or moved.mean() >= 0:
        return None
    total = power.flips_needed(float(-moved.mean()), float(moved.std(ddof=1)), ties, level)
    return max(1, total - n) if total else None


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
    rate, rate_interval, sustained = None, None, None
    if question.paired and endpoint.crossings:
        rate, rate_interval = paired.rate_difference(
            stack(cells, lambda e: (e.candidate.first < e.never).astype(float)),
            stack(cells, lambda e: (e.baseline.first < e.never).astype(float)),
        )
    if endpoint.timed and endpoint.tabled and attained and not any(np.isnan(e.baseline.sustained).all() for e in cells):
        sustained = paired.restricted_ratio(*stack_arms(cells, lambda s: s.sustained))
    return Verdict(
        question,
        None,
        sum(len(e.differences) for e in cells),
        p,
        p_reverse,
        ratio=endpoint.ratio(cells) if attained or not endpoint.timed else None,
        interval=endpoint.interval(question, cells, rng),
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
        difference=endpoint.difference(cells),
        blocks=blocks_of(cells) if question.paired else 0,
        least=endpoint.least(question, cells),
    )
