"""How often each test rejects what is true, and finds what is false, on simulated tables with censoring and ties.

    python benchmarks/studies/null.py [--tables 2000]

A table is a claim's cells: 3 tasks under 3 softmaxes, 12 pairs each, log-normal grok times that share an ease within a
pair and, across the softmaxes of a task, within a block; whole epochs, so ties occur; a budget. Under the null
hypothesis both arms are the same. Every row tests one thing at the one-sided level 0.05 over the whole table: for
families of cells, that is the chance of any false rejection after correction, and for e-processes, that of one at any
of the looks.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import binom

from grokbench.claims import Comparison
from grokbench.stats import paired
from grokbench.stats.paired import Floats
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.evidence import compare
from grokbench.verdicts.pairs import Evidence, Sample

TASKS, SOFTMAXES, PAIRS, LEVEL = 3, 3, 12, 0.05
BUDGET = 400.0
NEVER = BUDGET + 1


class Setting(NamedTuple):
    """censored: share of runs that never grok. coarse: epochs between evaluations, which makes ties. shift: epochs that
    the candidate is later, which leaves the spread as it is.
    """

    censored: float
    coarse: int = 1
    ratio: float = 1.0
    shift: float = 0.0

    def __str__(self) -> str:
        ties = f", times in steps of {self.coarse}" if self.coarse > 1 else ""
        return f"{self.censored:.0%} censored{ties}" + f", {self.shift:g} later" * bool(self.shift)


NULLS = (Setting(0.0), Setting(0.3), Setting(0.7), Setting(0.0, 40), Setting(0.3, 40))
SHIFTED = (Setting(0.0, shift=60), Setting(0.1, shift=60))  # true of the spread alone


def table(rng: np.random.Generator, setting: Setting) -> list[Evidence]:
    """The evidence of all cells of one simulated claim."""
    cells = []
    for task in range(TASKS):
        ease = rng.normal(0, 0.3, (1, 1, PAIRS)) + rng.normal(0, 0.2, (2, 1, PAIRS))
        log = rng.normal(4.5, 0.3, (2, SOFTMAXES, PAIRS)) + ease  # arms, softmaxes, pairs
        log[1] += math.log(setting.ratio)
        times = np.ceil(np.exp(log) / setting.coarse) * setting.coarse
        times[1] += setting.shift
        never = rng.random(times.shape) < setting.censored
        times = np.where(never | (times > BUDGET), NEVER, times)
        for softmax in range(SOFTMAXES):
            b, c = (Sample(t, t, t) for t in times[:, softmax])
            cells.append(compare("first", 1.0, f"{task}-{softmax}", task, b, c, NEVER))
    return cells


def p_values(
    cells: list[Evidence], rng: np.random.Generator, test: str = "first", *, sequential: bool = False
) -> tuple[float, float]:
    """p of the claim and of its reverse, as a verdict has them."""
    question = Comparison("", "", "", ("baseline", "candidate"), test=test, sequential=sequential)
    return ENDPOINTS[test].test(question, cells, rng)[:2]


def family(cells: list[Evidence], rng: np.random.Generator, *, sequential: bool) -> tuple[bool, bool]:
    """Whether any cell is supported, and whether any is refuted."""
    p, q = zip(*(p_values([e], rng, sequential=sequential) for e in cells), strict=True)
    return min(paired.holm(p)) <= LEVEL, min(paired.holm(q)) <= LEVEL


def pooled(
    cells: list[Evidence], rng: np.random.Generator, test: str = "first", *, sequential: bool = False
) -> tuple[bool, bool]:
    p, q = p_values(cells, rng, test, sequential=sequential)
    return p <= LEVEL, q <= LEVEL


def logrank(cells: list[Evidence]) -> tuple[bool, bool]:
    """Two-sided, so at the same level in one column. Pairs share their ease, which it does not know of."""
    arms = [[(s.first, s.first < NEVER) for s in (getattr(e, arm) for e in cells)] for arm in ("candidate", "baseline")]
    return paired.logrank(*arms) <= LEVEL, False


def interaction(cells: list[Evidence], rng: np.random.Generator) -> tuple[bool, bool]:
    """That the effect is the same under all softmaxes."""
    effects = [np.array([e.forward for e in cells if e.block == block]) for block in range(TASKS)]
    return paired.interaction(effects, rng) <= LEVEL, False


Test = Callable[[list[Evidence], np.random.Generator], tuple[bool, bool]]
TESTS: dict[str, Test] = {
    "sign flips, Holm over cells": lambda cells, rng: family(cells, rng, sequential=False),
    "sign flips, pooled": lambda cells, rng: pooled(cells, rng),
    "e-process, Holm over cells": lambda cells, rng: family(cells, rng, sequential=True),
    "e-process, pooled": lambda cells, rng: pooled(cells, rng, sequential=True),
    "spread, pooled": lambda cells, rng: pooled(cells, rng, "spread"),
    "interaction of softmaxes": interaction,
    "log-rank, stratified": lambda cells, rng: logrank(cells),
}


def rates(name: str, setting: Setting, tables: int, seed: int = 0) -> tuple[float, float]:
    """Shares of tables in which the test rejects, for the claim and for its reverse."""
    rng = np.random.default_rng(
        [seed, int(100 * setting.censored), setting.coarse, int(1000 * setting.ratio), int(setting.shift)]
    )
    hits = np.zeros(2)
    for _ in range(tables):
        hits += TESTS[name](table(rng, setting), rng)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=int, default=2000)
    tables = parser.parse_args().tables
    print(f"{tables} tables of {TASKS} tasks x {SOFTMAXES} softmaxes x {PAIRS} pairs; level {LEVEL};")
    print(f"by chance alone a share is below {most(tables):.4f}. For the claim / for its reverse:\n")
    for name in TESTS:
        print(name)
        for setting in (*NULLS, *(SHIFTED if name.startswith("spread") else ())):
            forward, reverse = rates(name, setting, tables)
            flag = "  ABOVE ITS LEVEL" if max(forward, reverse) > most(tables) else ""
            print(f"    null, {setting!s:<36} {forward:.4f} / {reverse:.4f}{flag}")
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


if __name__ == "__main__":
    main()
