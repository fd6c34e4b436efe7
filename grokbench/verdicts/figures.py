"""The numbers of a verdict from the evidence of its cells. Torch-free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from grokbench.claims import TIMES, Claim
from grokbench.stats import paired, sequential
from grokbench.stats.paired import Floats, Interval
from grokbench.verdicts import evidence
from grokbench.verdicts.evidence import Evidence


class Question(NamedTuple):
    """What is tested, of whichever runs; the fields are those of `Claim`. paired: replicas share random streams.

    tabled: it is shown cell by cell, in a table of its own.
    """

    claim: str
    statement: str
    source: str
    arms: tuple[str, str]
    test: str = "first"
    margin: float = 1.0
    level: float = 0.05
    sequential: bool = False
    paired: bool = True
    protocol: str = "published"
    scope: str = ""
    asserted: bool = True
    tabled: bool = True

    @classmethod
    def of(cls, claim: Claim) -> Question:
        return cls(
            claim.name,
            claim.statement,
            claim.source,
            (claim.baseline.label, claim.candidate.label),
            claim.test,
            claim.margin,
            claim.level,
            claim.sequential,
            True,
            claim.protocol,
            claim.scope,
            claim.asserted,
            claim.test == "first" and claim.pooled,
        )


class Figures(NamedTuple):
    """Fields of `Verdict` of the same names."""

    p: float
    p_reverse: float
    ratio: float | None
    interval: Interval | None
    logrank: float | None
    runs: dict[str, int]
    grokked: dict[str, int]
    median: dict[str, float | None]
    rate: float | None
    rate_interval: Interval | None
    sustained: float | None
    note: str


def compute(question: Question, cells: Sequence[Evidence], rng: np.random.Generator) -> Figures:
    """All figures of one verdict over these cells."""
    p, p_reverse, note = p_values(question, cells, rng)
    arms = [[(e.baseline, e.candidate)[i] for e in cells] for i in (0, 1)]
    reached = [[(s.first < e.never) for s, e in zip(arm, cells, strict=True)] for arm in arms]
    field = "sustained" if question.test == "sustained" else "first"
    baseline, candidate = (evidence.stack(cells, f"{arm}.{field}") for arm in ("baseline", "candidate"))
    timed = question.test in TIMES
    medians = {}
    for label, arm in zip(question.arms, arms, strict=True):
        values = np.concatenate([s.value for s in arm])
        never = np.concatenate([s.value >= e.never for s, e in zip(arm, cells, strict=True)])
        medians[label] = paired.median(values, ~never if timed else np.isfinite(values))
    rate, rate_interval = (None, None)
    if question.paired:
        ones = [evidence.stack([_reached(e) for e in cells], f"{arm}.value") for arm in ("candidate", "baseline")]
        rate, rate_interval = paired.rate_difference(ones[0], ones[1])
    ratio = paired.restricted_ratio(candidate, baseline) if timed else None
    if question.test == "spread":
        ratio = _spread_ratio(cells)
    return Figures(
        p=p,
        p_reverse=p_reverse,
        ratio=ratio,
        interval=paired.ratio_interval(candidate, baseline, rng) if timed and question.paired else None,
        logrank=paired.logrank(*([(s.first, r) for s, r in zip(arms[i], reached[i], strict=True)] for i in (1, 0))),
        runs={label: sum(map(len, r)) for label, r in zip(question.arms, reached, strict=True)},
        grokked={label: int(sum(map(np.sum, r))) for label, r in zip(question.arms, reached, strict=True)},
        median=medians,
        rate=rate,
        rate_interval=rate_interval,
        sustained=_sustained(cells) if question.test == "first" else None,
        note=note,
    )


def p_values(question: Question, cells: Sequence[Evidence], rng: np.random.Generator) -> tuple[float, float, str]:
    """p of the claim, p of its reverse, and what else is to be said."""
    if question.test == "spread":
        never: dict[object, list[float]] = {}
        for e in cells:
            never.setdefault(e.block, []).append(e.never)
        candidate, baseline = (evidence.stack(cells, f"{arm}.first") for arm in ("candidate", "baseline"))
        return *paired.spread(candidate, baseline, list(never.values()), rng), ""
    if question.test == "interaction":
        return _interaction(cells, rng)
    forward, reverse = (sums(cells, side) for side in ("forward", "reverse"))
    if not question.paired:
        logs = [[np.log(getattr(e, arm).value) for e in cells] for arm in ("candidate", "baseline")]
        return *paired.shuffle(logs[0], logs[1], rng), ""
    if question.sequential:
        return sequential.p_value(in_order(forward)), sequential.p_value(-in_order(reverse)), ""
    ahead, behind = np.concatenate(forward), np.concatenate(reverse)
    p, p_reverse = paired.sign_flip(ahead, rng)
    if not np.array_equal(ahead, behind):
        _, p_reverse = paired.sign_flip(behind, rng)
    return p, p_reverse, ""


def sums(cells: Sequence[Evidence], name: str) -> list[Floats]:
    """(n,) sums of the named differences over the cells of each block, replica by replica."""
    return [np.nansum(array, 0) for array in evidence.stack(cells, name)]


def in_order(blocks: Sequence[Floats]) -> Floats:
    """All blocks' sums, replica by replica, as they would have come in."""
    return np.array([b[r] for r in range(max(map(len, blocks))) for b in blocks if r < len(b)])


def _interaction(cells: Sequence[Evidence], rng: np.random.Generator) -> tuple[float, float, str]:
    """Whether every difference of effects between two cells of a block is smaller than the size of the mean effect.

    An intersection–union test (Berger 1982) by sign flips of blocks: for one sign of the mean effect every ordered
    pair of softmaxes has to pass, and there are two signs; for the reverse, one pair has to differ by more than the
    mean effect of either sign, and there are as many as ordered pairs. Both are corrected by Bonferroni.
    """
    effects = [e for e in evidence.stack(cells, "forward") if len(e) > 1]
    if not effects or len({len(e) for e in effects}) > 1:
        return 1.0, 1.0, "needs the same softmaxes for every task"
    rows = np.concatenate([e.T for e in effects])
    rows = rows[np.isfinite(rows).all(1)]
    count = rows.shape[1]
    pairs = [(s, t) for s in range(count) for t in range(count) if s != t]
    signs: list[list[tuple[float, float]]] = [
        [paired.sign_flip(sign * rows.mean(1) + rows[:, s] - rows[:, t], rng) for s, t in pairs] for sign in (1, -1)
    ]
    p = 2 * min(max(less for less, _ in found) for found in signs)
    p_reverse = len(pairs) * min(max(plus[1], minus[1]) for plus, minus in zip(*signs, strict=True))
    names = [str(e.cell).rpartition("-")[2] for e in cells]
    means = np.exp(rows.mean(0))
    shown = ", ".join(f"{name} {mean:.2f}" for name, mean in zip(names, means, strict=False))
    note = f"time ratios {shown}; interaction p {paired.interaction(effects, rng):.2g}"
    return min(1.0, p), min(1.0, p_reverse), note


def _reached(e: Evidence) -> Evidence:
    """The same with 1 for a run that grokked and 0 for one that did not."""
    b, c = (evidence.Sample(s.first, s.sustained, (s.first < e.never).astype(float)) for s in (e.baseline, e.candidate))
    return replace(e, baseline=b, candidate=c)


def _sustained(cells: Sequence[Evidence]) -> float | None:
    arms = [evidence.stack(cells, f"{arm}.sustained") for arm in ("candidate", "baseline")]
    return None if any(np.isnan(e.baseline.sustained).all() for e in cells) else paired.restricted_ratio(*arms)


def _spread_ratio(cells: Sequence[Evidence]) -> float | None:
    """Geometric mean over cells of the ratio of mean distances from the median, where both arms have one."""
    logs = []
    for e in cells:
        c, b = (np.abs(s.first - np.median(s.first)).mean() for s in (e.candidate, e.baseline))
        if c > 0 and b > 0 and max(np.median(e.candidate.first), np.median(e.baseline.first)) < e.never:
            logs.append(np.log(c / b))
    return float(np.exp(np.mean(logs))) if logs else None


def smallest_p(t: float) -> float:
    """The smallest two-sided p that a t statistic can have: that of infinitely many degrees of freedom."""
    return float(2 * scipy_stats.norm.sf(abs(t)))


def smallest_t(p: float) -> float:
    """The smallest |t| that can have a two-sided p."""
    return float(scipy_stats.norm.isf(p / 2))
