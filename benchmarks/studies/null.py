"""How often each test rejects what is true, and finds what is false, on simulated tables with censoring and ties.

    python benchmarks/studies/null.py [--tables 2000]

A table is a claim's cells: 3 tasks under 3 softmaxes, 12 pairs each, log-normal grok times that share an ease within a
pair and, across the softmaxes of a task, within a block; whole epochs, so ties occur; a budget. Under the null
hypothesis both arms are the same, or the candidate is exactly by the claim's margin later, or, for the interaction, the
effects differ by exactly as much as their mean. Every test that a claim can use is simulated as the claim uses it, at
the one-sided level 0.05 over the whole table: for families of cells, the shares are those of tables with any false
rejection after correction, and for e-processes, of one at any of the looks. Effects that cancel over the cells are a
null of the pool, whatever the cells come to.
"""

from __future__ import annotations

import argparse
import math
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

from grokbench.claims import Comparison
from grokbench.stats import paired, permutation
from grokbench.stats.course import follow
from grokbench.stats.paired import Floats
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.evidence import compare
from grokbench.verdicts.pairs import Evidence, Sample, first_pairs, stack

TASKS, SOFTMAXES, PAIRS, LEVEL = 3, 3, 12, 0.05
PATTERNS = 999  # a test by random patterns holds its level with any number of them, so here are fewer
BUDGET = 400.0
NEVER = BUDGET + 1


class Setting(NamedTuple):
    """censored: share of runs that never grok. coarse: epochs between evaluations, which makes ties. ratio: of the
    candidate's times to the baseline's. shift: epochs that the candidate is later, which leaves the spread as it is.
    margin: of the claim; the candidate is by it later, too. alone: in each pair one arm groks at this time (on the
    baseline's scale), the other never. effects: log ratio under each softmax. by_task: and of each task.
    """

    censored: float
    coarse: int = 1
    ratio: float = 1.0
    shift: float = 0.0
    margin: float = 1.0
    alone: float = 0.0
    effects: tuple[float, ...] = ()
    by_task: tuple[float, ...] = ()

    def __str__(self) -> str:
        said = [f"{self.censored:.0%} censored"]
        said += [f"times in steps of {self.coarse}"] * (self.coarse > 1)
        said += [f"{self.shift:g} later"] * bool(self.shift)
        said += [f"margin {self.margin:g}"] * (self.margin != 1)
        said += [f"one at {self.alone:g}, one never"] * bool(self.alone)
        said += [f"effects {', '.join(f'{e:g}' for e in self.effects)}"] * bool(self.effects)
        said += [f"by task {', '.join(f'{e:g}' for e in self.by_task)}"] * bool(self.by_task)
        return ", ".join(said)


NULLS = (Setting(0.0), Setting(0.3), Setting(0.7), Setting(0.0, 40), Setting(0.3, 40))
MARGINS = (
    *(Setting(0.3, margin=margin) for margin in (0.5, 1.1)),
    *(Setting(0.0, margin=margin, alone=320) for margin in (0.5, 1.1)),
)
SHIFTED = (Setting(0.0, shift=60), Setting(0.1, shift=60))  # true of the spread alone
CANCELLING = tuple(
    Setting(0.0, **{way: effects})  # type: ignore[arg-type]
    for way in ("effects", "by_task")
    for effects in ((1.0, -0.5, -0.5), (-1.0, 0.5, 0.5))
)
EDGES = (Setting(0.0, effects=(-0.6, -0.4, -0.2)), Setting(0.0, effects=(0.6, 0.3, 0.3)))  # largest gap = mean


def _values(rng: np.random.Generator, test: str, times: Floats) -> Floats:
    """What an endpoint compares, for runs with these first crossings."""
    if test == "sustained":
        held = times + rng.integers(0, 100, times.shape)
        return np.where(held > BUDGET, NEVER, held)
    if test == "reached":
        return (times < NEVER).astype(np.float64)
    if test == "below":
        return np.where(times < NEVER, rng.poisson(2, times.shape), np.nan)
    if test == "collapsed":
        return np.asarray(rng.integers(0, 11, times.shape) / 10)
    if test in ("lower", "higher"):
        return np.asarray(rng.exponential(1.0, times.shape))
    return times


def table(rng: np.random.Generator, setting: Setting, test: str = "first") -> list[Evidence]:
    """The evidence of all cells of one simulated claim."""
    cells = []
    for task in range(TASKS):
        ease = rng.normal(0, 0.3, (1, 1, PAIRS)) + rng.normal(0, 0.2, (2, 1, PAIRS))
        log = rng.normal(4.5, 0.3, (2, SOFTMAXES, PAIRS)) + ease  # arms, softmaxes, pairs
        log[1] += math.log(setting.ratio) + np.array(setting.effects or (0.0,))[:, None]
        log[1] += setting.by_task[task] if setting.by_task else 0.0
        times = np.ceil(np.exp(log) / setting.coarse) * setting.coarse
        times[1] += setting.shift
        times = np.where(rng.random(times.shape) < setting.censored, np.inf, times)
        if setting.alone:
            one = rng.integers(0, 2, times[0].shape)
            times = np.where(np.stack([one, 1 - one]), setting.alone, np.inf)
        times[1] *= setting.margin
        times = np.where(times > BUDGET, NEVER, times)
        values = _values(rng, test, times)
        for softmax in range(SOFTMAXES):
            b, c = (Sample(times[arm, softmax], times[arm, softmax], values[arm, softmax]) for arm in (0, 1))
            cells.append(compare(test, setting.margin, f"{task}-{softmax}", task, b, c, NEVER))
    return cells


class Test(NamedTuple):
    """A test as claims use it, with what is true of the tables on which it is tried.

    pooled: over all cells together; else cell by cell, adjusted over all. candidates: of so many comparisons that are
    decided together, each with a table of its own.
    """

    settings: tuple[Setting, ...]
    endpoint: str = "first"
    sequential: bool = False
    pooled: bool = False
    candidates: int = 1

    def rejects(self, rng: np.random.Generator, setting: Setting) -> tuple[bool, bool]:
        """Whether it rejects anywhere in a new table, for the claim and for its reverse."""
        question = Comparison(
            *("", "", "", ("baseline", "candidate")),
            test=self.endpoint,
            margin=setting.margin,
            sequential=self.sequential,
            comparisons=self.candidates,
        )
        found = [self._p(question, table(rng, setting, self.endpoint), rng) for _ in range(self.candidates)]
        forward, reverse = (min(side) * self.candidates <= LEVEL for side in zip(*found, strict=True))
        return forward, reverse

    def _p(self, question: Comparison, cells: list[Evidence], rng: np.random.Generator) -> tuple[float, float]:
        """The smallest adjusted p of a table, and of its reverse."""
        if self.sequential and not self.pooled:
            course = follow([e.differences for e in cells], len(cells), question.bound, PAIRS)
            return float(course.p_adjusted.min()), float(course.p_reverse_adjusted.min())
        groups = [cells] if self.pooled else [[e] for e in cells]
        p, q = zip(*(ENDPOINTS[self.endpoint].test(question, group, rng)[:2] for group in groups), strict=True)
        return min(paired.holm(p)), min(paired.holm(q))


class LogRank(NamedTuple):
    """Two-sided, so at the same level in one column. Pairs share their ease, which it does not know of."""

    settings: tuple[Setting, ...]

    def rejects(self, rng: np.random.Generator, setting: Setting) -> tuple[bool, bool]:
        cells = table(rng, setting)
        candidate, baseline = [e.candidate.first for e in cells], [e.baseline.first for e in cells]
        arms = [[(times, times < NEVER) for times in arm] for arm in (candidate, baseline)]
        return paired.logrank(*arms) <= LEVEL, False


class EqualEffects(NamedTuple):
    """The p beside the interaction's verdict: that the effect is the same under all softmaxes."""

    settings: tuple[Setting, ...]

    def rejects(self, rng: np.random.Generator, setting: Setting) -> tuple[bool, bool]:
        return paired.interaction(stack(table(rng, setting), lambda e: e.differences), rng) <= LEVEL, False


TESTS: dict[str, Test | LogRank | EqualEffects] = {
    "sign flips, Holm over cells": Test(NULLS + MARGINS),
    "sign flips, pooled": Test(NULLS + MARGINS + CANCELLING, pooled=True),
    "e-process, closed over cells": Test(NULLS + MARGINS, sequential=True),
    "e-process, pooled": Test(NULLS + MARGINS + CANCELLING, sequential=True, pooled=True),
    "e-process, three candidates": Test(NULLS[:2], sequential=True, candidates=3),
    **{
        f"{endpoint}, {how}": Test(NULLS[1:2], endpoint, sequential)
        for endpoint in ("sustained", "reached", "below", "collapsed")
        for how, sequential in (("sign flips", False), ("e-process", True))
    },
    **{f"{endpoint}, sign flips": Test(NULLS[:1], endpoint) for endpoint in ("lower", "higher")},
    "spread, pooled": Test(NULLS + SHIFTED, "spread", pooled=True),
    "interaction, pooled": Test(NULLS + EDGES, "interaction", pooled=True),
    "equal effects, pooled": EqualEffects(NULLS),
    "log-rank, stratified": LogRank(NULLS),
}


def rates(name: str, setting: Setting, tables: int, seed: int = 0) -> tuple[float, float]:
    """Shares of tables in which the test rejects, for the claim and for its reverse."""
    rng = np.random.default_rng([seed, *str((name, setting, setting.ratio)).encode()])
    hits = np.zeros(2)
    for _ in range(tables):
        hits += TESTS[name].rejects(rng, setting)
    return float(hits[0] / tables), float(hits[1] / tables)


def most(tables: int) -> float:
    """A share that a test of the right level exceeds in one of 10 000 simulations."""
    return float(binom.isf(1e-4, tables, LEVEL) / tables)


def coverage(pairs: int, censored: float, samples: int) -> float:
    """How often the 95 % interval of one cell's time ratio holds the true one; budget 1000, log-normal times."""
    rng = np.random.default_rng([pairs, round(1000 * censored)])

    def times(n: int) -> list[Floats]:
        ease = rng.normal(0, 0.3, n)
        drawn = (np.exp(mean + ease + rng.normal(0, 0.4, n)) for mean in (5.0, 5.8))
        return [np.minimum(np.where(rng.random(n) < censored, np.inf, t), 1001.0) for t in drawn]

    truth = paired.restricted_ratio(*([t[None]] for t in times(10**6)))
    hits = 0
    for _ in range(samples):
        candidate, baseline = times(pairs)
        low, high = paired.ratio_interval([candidate[None]], [baseline[None]], rng)
        hits += low <= truth <= high
    return hits / samples


def coverage_so_far(mean: float, censored: float, samples: int) -> tuple[float, float]:
    """The same of the interval that holds whenever one looks, where training stops as soon as it may; and the share of
    these intervals that have both ends. mean: log ratio.
    """
    rng = np.random.default_rng([round(100 * abs(mean)), round(1000 * censored)])
    hits = ended = 0
    for _ in range(samples):
        ease = rng.normal(5.0, 0.3, 16)
        arms = [np.exp(ease + m + rng.normal(0, 0.3, 16)) for m in (0.0, mean)]
        arms = [np.where(rng.random(16) < censored, np.inf, t) for t in arms]
        b, c = (Sample(t, t, t) for t in (np.minimum(t, NEVER) for t in arms))
        e = compare("first", 1.0, "cell", "block", b, c, NEVER)
        e = first_pairs(e, int(follow([e.differences], 1, LEVEL, 16).pairs[0]))
        low, high = ENDPOINTS["first"].ratio_so_far([e])[1] or (math.inf, 0.0)  # an empty interval holds nothing
        hits += low <= math.exp(mean) <= high
        ended += low > 0 and high < math.inf
    return hits / samples, ended / samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=2000)
    tables = parser.parse_args().tables
    permutation.RESAMPLES, paired.SWAPS = PATTERNS, PATTERNS + 1
    print(f"{tables} tables of {TASKS} tasks x {SOFTMAXES} softmaxes x {PAIRS} pairs; level {LEVEL};")
    print(f"by chance alone a share is below {most(tables):.4f}. For the claim / for its reverse:\n")
    for name, test in TESTS.items():
        print(name)
        for setting in test.settings:
            forward, reverse = rates(name, setting, tables)
            flag = "  ABOVE ITS LEVEL" if max(forward, reverse) > most(tables) else ""
            print(f"    null, {setting!s:<42} {forward:.4f} / {reverse:.4f}{flag}")
    print("\npower: share of tables with a rejection, for families of any cell\n")
    for name in list(TESTS)[:4]:
        for ratio in (0.9, 0.8, 0.7, 0.6, 0.5):
            print(
                f"    {name:<30} ratio {ratio}: {rates(name, Setting(0.0, ratio=ratio), max(1, tables // 10))[0]:.3f}"
            )
    print("\ncoverage of the 95 % interval of a time ratio\n")
    for censored in (0.0, 0.1):
        for pairs in (5, 8, 12, 16):
            print(f"    {pairs:>2} pairs, {censored:.0%} censored: {coverage(pairs, censored, tables // 2):.3f}")
    print("\nand of the one that holds whenever one looks, after the pairs at which training stops\n")
    for mean in (0.0, -0.1, -0.8):
        for censored in (0.0, 0.1, 0.3):
            covers, ended = coverage_so_far(mean, censored, tables // 2)
            print(f"    log ratio {mean:g}, {censored:.0%} censored: {covers:.3f}; {ended:.2f} of them have both ends")


if __name__ == "__main__":
    main()
