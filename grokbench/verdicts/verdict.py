"""Claim + records -> verdicts. Needs no training and no torch, and gives the same numbers every time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np

from grokbench.claims import TIMES, Cell, Claim
from grokbench.stats import paired, power, sequential
from grokbench.verdicts import evidence, figures
from grokbench.verdicts.evidence import Evidence, Records
from grokbench.verdicts.figures import Question


class Status(Enum):
    """What the evidence says of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"  # the reverse is significant
    INCONCLUSIVE = "inconclusive"  # neither is: more replicas may decide


@dataclass(frozen=True)
class Verdict:
    """The judgement of a question in one cell, or pooled over its cells (`cell` None).

    pairs: replicas that both arms trained, the same random stream in each. ratio: of the candidate's restricted mean
    time to the baseline's, with its interval (of the mean distances from the median for the test of spread); None
    where the test is not one of times. p and p_adjusted: of the claim, before and after Holm's adjustment; p_reverse
    and p_reverse_adjusted: of its reverse. logrank: two-sided, not paired, secondary. runs, grokked and median (of
    what the test compares): by arm. rate: difference of the shares that grokked, with its interval. sustained: the
    ratio for sustained times; inverted: it lies on the other side of 1. more: pairs that would probably decide.
    settings: what tuning chose, by arm.
    """

    question: Question
    cell: Cell | str | None
    status: Status
    pairs: int
    ratio: float | None
    interval: paired.Interval | None
    p: float
    p_reverse: float
    p_adjusted: float
    p_reverse_adjusted: float
    logrank: float | None
    runs: dict[str, int]
    grokked: dict[str, int]
    median: dict[str, float | None]
    rate: float | None
    rate_interval: paired.Interval | None
    sustained: float | None
    cells: int  # over how many cells Holm's adjustment went
    more: int | None = None
    settings: tuple[str, ...] = ()
    note: str = ""

    @property
    def claim(self) -> str:
        return self.question.claim

    @property
    def arms(self) -> tuple[str, str]:
        return self.question.arms

    @property
    def level(self) -> float:
        return self.question.level

    @property
    def id(self) -> str:
        return f"{self.claim}[{self.cell or 'pooled'}]"

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
        if self.question.test == "audit":
            return self.note
        if self.status is Status.INCONCLUSIVE:
            return self._why_undecided()
        supported = self.status is Status.SUPPORTED
        p = self.p_adjusted if supported else self.p_reverse_adjusted
        line = f"{self.finding}, adjusted p {p:.2g}"
        if self.ratio is not None and self.question.margin == 1 and (self.ratio > 1) == supported:
            line += "; but a few late or missing times turn the ratio of the means"
        if self.inverted:
            line += f"; sustained times point the other way, ratio {self.sustained:.2f}"
        return line

    @property
    def finding(self) -> str:
        """What the candidate did, in the terms of the test."""
        candidate, supported = self.arms[1], self.status is Status.SUPPORTED
        if self.question.test in TIMES:
            word = "earlier" if supported else "later"
            if self.question.margin != 1:
                word = f"{'less' if supported else 'more'} than {self.question.margin:g} times as late"
            return f"{candidate} is {word}: {self._ratio()}"
        if self.question.test == "interaction":
            return f"the advantage {'exceeds' if supported else 'does not exceed'} its differences: {self.note}"
        if self.question.test == "spread":
            return f"{candidate} is {'tighter' if supported else 'wider'}: {self._ratio()}"
        baseline = self.arms[0]
        shown = ", ".join(f"{label} {'–' if m is None else f'{m:g}'}" for label, m in self.median.items())
        if self.question.test == "reached":
            shown = ", ".join(f"{label} {n} of {self.pairs}" for label, n in self.grokked.items())
        return f"{candidate} {'more' if supported else 'less'} often than {baseline}: {shown}"

    def _ratio(self) -> str:
        name = "spread" if self.question.test == "spread" else "time"
        return f"{name} ratio {'unknown' if self.ratio is None else f'{self.ratio:.2f}'}"

    def _why_undecided(self) -> str:
        smallest = min(self.p_adjusted, self.p_reverse_adjusted)
        most = sequential.fewest(self.level / self.cells) if self.question.sequential else 0
        least = 2.0**-self.pairs * self.cells
        if self.cell and self.question.paired and (self.pairs < most or (not most and least > self.level)):
            need = f"; {most} pairs can" if most else f": the smallest possible adjusted p is {min(least, 1):.2g}"
            return f"{self.pairs} pair{'s' * (self.pairs != 1)} cannot decide{need}"
        what = self._ratio() if self.question.test in (*TIMES, "spread") else self.note
        line = f"{what}, " if what else ""
        pairs = f"{self.pairs} pair{'s' * (self.pairs != 1)}"
        count = pairs if self.question.paired else f"{sum(self.runs.values())} runs"
        line += f"adjusted p {smallest:.2g} > {self.level} with {count}"
        if self.cell and self.question.paired:
            line += f"; about {self.more} more would decide" if self.more else f"; undecided for {power.MOST} more"
        return line


def judge(claim: Claim, cells: Sequence[Cell], records: Records) -> list[Verdict]:
    """A verdict for each of `cells` whose runs are all in `records` (by digest).

    Holm's adjustment goes over all of `cells`; one without records counts there with p = 1, so that no verdict
    can be taken back by what is still to come.
    """
    found = [evidence.gather(claim, cell, records) for cell in cells]
    return judge_cells(Question.of(claim), [e for e in found if e], len(cells))


def judge_cells(question: Question, cells: Sequence[Evidence], family: int) -> list[Verdict]:
    """The verdicts of these cells, of a family of so many."""
    verdicts = [_verdict(question, e.cell, [e], family) for e in cells]
    missing = [1.0] * (family - len(cells))
    forward = paired.holm([v.p for v in verdicts] + missing)
    reverse = paired.holm([v.p_reverse for v in verdicts] + missing)
    return [_decide(v, p, q, [e]) for v, p, q, e in zip(verdicts, forward, reverse, cells, strict=False)]


def pool(claim: Claim, cells: Sequence[Cell], records: Records) -> Verdict | None:
    """The verdict over all of `cells` together, or None while a run is missing."""
    question = Question.of(claim)
    if claim.reported:
        return _audit(question, *claim.reported)
    found = [evidence.gather(claim, cell, records) for cell in cells]
    complete = [e for e in found if e]
    return pool_cells(question, complete) if len(complete) == len(cells) else None


def pool_cells(question: Question, cells: Sequence[Evidence]) -> Verdict:
    """The verdict over these cells together."""
    verdict = _verdict(question, None, cells, 1)
    return _decide(verdict, verdict.p, verdict.p_reverse, cells)


def _decide(verdict: Verdict, p: float, p_reverse: float, cells: Sequence[Evidence]) -> Verdict:
    # p-values of a sequential test keep the best that either side ever had, so both can be small; the smaller decides
    supported, refuted = p <= verdict.level and p <= p_reverse, p_reverse <= verdict.level
    status = Status.SUPPORTED if supported else Status.REFUTED if refuted else Status.INCONCLUSIVE
    more = _more(verdict, cells[0]) if status is Status.INCONCLUSIVE and verdict.cell else None
    return replace(verdict, status=status, p_adjusted=p, p_reverse_adjusted=p_reverse, more=more)


def _more(verdict: Verdict, e: Evidence) -> int | None:
    """Pairs that would decide a cell with a probability of 80 % if they went on as those so far."""
    side = e.forward if verdict.p <= verdict.p_reverse else -e.reverse
    wins, losses, n = int((side < 0).sum()), int((side > 0).sum()), len(side)
    level, ties = verdict.level / verdict.cells, 1 - (wins + losses) / n
    if verdict.question.sequential:
        return power.wins_needed((wins + 0.5) / (wins + losses + 1), ties, level, wins=wins, losses=losses)
    moved = side[side != 0]
    if len(moved) < 2 or moved.mean() >= 0:
        return None
    total = power.flips_needed(float(-moved.mean()), float(moved.std(ddof=1)), ties, level)
    return max(1, total - n) if total else None


def _verdict(question: Question, cell: Cell | str | None, cells: Sequence[Evidence], family: int) -> Verdict:
    found = _figures(_Data(_key(question, cells), tuple(cells)), question)
    return Verdict(
        question=question,
        cell=cell,
        status=Status.INCONCLUSIVE,
        pairs=sum(len(e.forward) for e in cells),
        p_adjusted=1.0,
        p_reverse_adjusted=1.0,
        cells=family,
        settings=cells[0].settings if cell else (),
        **found._asdict(),
    )


def _audit(question: Question, t: float, p: float) -> Verdict:
    """A published t and two-sided p: the p of a given t is smallest with infinitely many degrees of freedom."""
    least = figures.smallest_p(t)
    possible = p >= least
    return Verdict(
        question=question,
        cell=None,
        status=Status.INCONCLUSIVE if possible else Status.REFUTED,
        pairs=0,
        ratio=None,
        interval=None,
        p=1.0,
        p_reverse=1.0 if possible else 0.0,
        p_adjusted=1.0,
        p_reverse_adjusted=1.0 if possible else 0.0,
        logrank=None,
        runs=dict.fromkeys(question.arms, 0),
        grokked=dict.fromkeys(question.arms, 0),
        median=dict.fromkeys(question.arms),
        rate=None,
        rate_interval=None,
        sustained=None,
        cells=1,
        note=f"t = {t} gives a two-sided p of at least {least:.2g} for any degrees of freedom; "
        f"p = {p:.3g} needs |t| of at least {figures.smallest_t(p):.2f}",
    )


class _Data(NamedTuple):
    """Evidence that can be a key: equal where its numbers are."""

    key: bytes
    cells: tuple[Evidence, ...]

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Data) and self.key == other.key


def _key(question: Question, cells: Sequence[Evidence]) -> bytes:
    digest = hashlib.blake2b(repr(question).encode())
    for e in cells:
        digest.update(f"{e.cell} {e.block} {e.never} {e.order.tolist()}".encode())
        for sample in (e.baseline, e.candidate):
            for array in (sample.first, sample.sustained, sample.value):
                digest.update(np.ascontiguousarray(array).tobytes() + b"|")
    return digest.digest()


@functools.lru_cache(maxsize=4096)  # one invocation asks for the same ones several times
def _figures(data: _Data, question: Question) -> figures.Figures:
    """The same draws whenever the same thing is judged again."""
    text = f"{question.claim} {[str(e.cell) for e in data.cells]}"
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
    return figures.compute(question, data.cells, np.random.default_rng(seed))
