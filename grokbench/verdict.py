"""Claim + records -> verdicts. Needs no training and no torch, and gives the same numbers every time."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

import numpy as np

from grokbench import stats
from grokbench.claims import Cell, Claim
from grokbench.spec import TaskSpec
from grokbench.store import Record


class Status(Enum):
    """What the evidence says of a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"  # the reverse is significant
    INCONCLUSIVE = "inconclusive"  # neither is: more replicas may decide


@dataclass(frozen=True)
class Verdict:
    """The judgement of a claim in one cell, or pooled over its cells (`cell` None).

    pairs: replicas that both arms trained, the same random stream in each. ratio: candidate's restricted mean
    time over the baseline's, with its interval. p and p_adjusted: of the claim, before and after Holm's
    adjustment; p_reverse and p_reverse_adjusted: of its reverse. grokked and median (epochs): by arm.
    """

    claim: str
    cell: Cell | None
    arms: tuple[str, str]
    status: Status
    pairs: int
    ratio: float
    interval: tuple[float, float]
    p: float
    p_reverse: float
    p_adjusted: float
    p_reverse_adjusted: float
    grokked: dict[str, int]
    median: dict[str, float | None]
    level: float
    cells: int  # over how many cells Holm's adjustment went

    @property
    def id(self) -> str:
        return f"{self.claim}[{self.cell or 'pooled'}]"

    @property
    def decided(self) -> bool:
        """Whether the records of the other cells cannot change the status; see `stats.holm`."""
        return self.status is not Status.INCONCLUSIVE or min(self.p, self.p_reverse) > self.level

    @property
    def reason(self) -> str:
        """One line that says why."""
        least = 2.0**-self.pairs * self.cells
        if self.status is not Status.INCONCLUSIVE:
            p = self.p_adjusted if self.status is Status.SUPPORTED else self.p_reverse_adjusted
            word = "earlier" if self.status is Status.SUPPORTED else "later"
            line = f"{self.arms[1]} is {word}: time ratio {self.ratio:.2f}, adjusted p {p:.2g}"
            if (self.ratio > 1) == (self.status is Status.SUPPORTED):
                line += "; but a few late or missing times turn the ratio of the means"
            return line
        if self.cell and least > self.level:
            return f"{self.pairs} pairs cannot decide: the smallest possible adjusted p is {min(least, 1):.2g}"
        smallest = min(self.p_adjusted, self.p_reverse_adjusted)
        return f"time ratio {self.ratio:.2f}, adjusted p {smallest:.2g} > {self.level} with {self.pairs} pairs"


def judge(claim: Claim, cells: Sequence[Cell], records: Mapping[str, Record]) -> list[Verdict]:
    """A verdict for each of `cells` whose runs are all in `records` (by digest).

    Holm's adjustment goes over all of `cells`; one without records counts there with p = 1, so that no verdict
    can be taken back by what is still to come.
    """
    complete = [cell for cell in cells if _complete(claim, cell, records)]
    verdicts = [_verdict(claim, cell, [cell], records, len(cells)) for cell in complete]
    missing = [1.0] * (len(cells) - len(complete))
    forward = stats.holm([v.p for v in verdicts] + missing)
    reverse = stats.holm([v.p_reverse for v in verdicts] + missing)
    return [_decide(v, p, q) for v, p, q in zip(verdicts, forward, reverse, strict=False)]


def pool(claim: Claim, cells: Sequence[Cell], records: Mapping[str, Record]) -> Verdict | None:
    """The verdict over all of `cells` together, or None while a run is missing."""
    if not all(_complete(claim, cell, records) for cell in cells):
        return None
    verdict = _verdict(claim, None, cells, records, 1)
    return _decide(verdict, verdict.p, verdict.p_reverse)


def _complete(claim: Claim, cell: Cell, records: Mapping[str, Record]) -> bool:
    return all(run.digest in records for arm in claim.arms for run in claim.runs(cell, arm))


def _decide(verdict: Verdict, p: float, p_reverse: float) -> Verdict:
    supported, refuted = p <= verdict.level, p_reverse <= verdict.level
    status = Status.SUPPORTED if supported else Status.REFUTED if refuted else Status.INCONCLUSIVE
    return replace(verdict, status=status, p_adjusted=p, p_reverse_adjusted=p_reverse)


def _verdict(
    claim: Claim, cell: Cell | None, cells: Sequence[Cell], records: Mapping[str, Record], adjusted: int
) -> Verdict:
    by_task: dict[TaskSpec, list[Cell]] = {}
    for c in cells:
        by_task.setdefault(c.task, []).append(c)
    baseline, candidate = (
        tuple(_times(claim, group, arm_index, records) for group in by_task.values()) for arm_index in (0, 1)
    )
    figures = _figures(candidate, baseline, _seed(claim, cells))
    grokked, medians = {}, {}
    for arm in claim.arms:
        epochs = [records[run.digest].time.epoch for c in cells for run in claim.runs(c, arm)]
        reached = np.array([epoch is not None for epoch in epochs])
        grokked[arm.label] = int(reached.sum())
        medians[arm.label] = stats.median(np.array([epoch or 0 for epoch in epochs], dtype=float), reached)
    return Verdict(
        claim=claim.name,
        cell=cell,
        arms=(claim.baseline.label, claim.candidate.label),
        status=Status.INCONCLUSIVE,
        pairs=claim.replicas * len(cells),
        ratio=figures.ratio,
        interval=figures.interval,
        p=figures.p,
        p_reverse=figures.p_reverse,
        p_adjusted=1.0,
        p_reverse_adjusted=1.0,
        grokked=grokked,
        median=medians,
        level=claim.level,
        cells=adjusted,
    )


class _Figures(NamedTuple):
    p: float
    p_reverse: float
    ratio: float
    interval: tuple[float, float]


_Times = tuple[tuple[int, ...], ...]  # of one arm: replicas of one task under each softmax


@functools.lru_cache(maxsize=4096)  # one invocation asks for the same ones several times
def _figures(candidate: tuple[_Times, ...], baseline: tuple[_Times, ...], seed: int) -> _Figures:
    rng = np.random.default_rng(seed)
    c, b = ([np.array(times, dtype=float) for times in arm] for arm in (candidate, baseline))
    blocks = np.concatenate([(np.log(x) - np.log(y)).sum(0) for x, y in zip(c, b, strict=True)])
    p, p_reverse = stats.sign_flip(blocks, rng)
    return _Figures(p, p_reverse, stats.restricted_ratio(c, b), stats.ratio_interval(c, b, rng))


def _times(claim: Claim, cells: Sequence[Cell], arm_index: int, records: Mapping[str, Record]) -> _Times:
    """Restricted times of one arm, one row for each softmax of one task: min(T, budget + 1).

    A run that did not grok within the budget would have needed one epoch more at the least, and so is later than
    one that grokked in the last.
    """
    arm, never = claim.arms[arm_index], claim.criterion.budget + 1
    return tuple(tuple(records[run.digest].time.epoch or never for run in claim.runs(cell, arm)) for cell in cells)


def _seed(claim: Claim, cells: Sequence[Cell]) -> int:
    """The same draws whenever the same thing is judged again."""
    text = f"{claim.name} {[str(cell) for cell in cells]}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
