"""How often every interval that `grokbench judge` prints holds what is true, for 2 to 16 runs, with ties and censoring.

    python benchmarks/studies/coverage.py [--samples 2000]

Times are log-normal with a deviation of 0.4 (and of 0.3 that a pair shares), 150 and 330 epochs in the middle, with a
budget of 1000. Ties: times are evaluated every 50 epochs. Censored: a share of the runs never gets there, whatever its
time would be. Late: the budget is 400 epochs, which cuts a third of the baseline's runs. Quantities are normal. The
nominal level is 95 %. Intervals with one end count as well, none at all does not; how many have an end is told by
--shown.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from grokbench.claims import Comparison
from grokbench.stats import paired, unpaired
from grokbench.stats.paired import Floats, Interval
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.evidence import compare
from grokbench.verdicts.pairs import Evidence, Sample

MIDDLES = 5.0, 5.8  # of log times: candidate, baseline
PAIRS = (2, 3, 4, 5, 6, 8, 12, 16)


class Setting(NamedTuple):
    """censored: share of runs that never get there. coarse: epochs between evaluations. budget: epochs."""

    name: str
    censored: float = 0.0
    coarse: int = 1
    budget: float = 1000.0


SETTINGS = (
    Setting("as they are"),
    Setting("ties", coarse=50),
    Setting("10 % never", 0.1),
    Setting("30 % never", 0.3),
    Setting("late", budget=400.0),
)


def times(rng: np.random.Generator, setting: Setting, n: int, shared: float) -> list[Floats]:
    """Restricted times of the candidate and of the baseline, (n,) each. shared: deviation that both have in common."""
    ease = rng.normal(0, shared, n)
    found = []
    for middle in MIDDLES:
        t = np.exp(middle + ease + rng.normal(0, 0.4, n))
        t = np.ceil(t / setting.coarse) * setting.coarse
        found.append(np.minimum(np.where(rng.random(n) < setting.censored, np.inf, t), setting.budget + 1))
    return found


def printed(setting: Setting, cells: Sequence[list[Floats]], together: bool = True) -> Interval:
    """The interval that `judge` prints of times in these cells."""
    never = setting.budget + 1
    evidence = []
    for i, (c, b) in enumerate(cells):
        candidate, baseline = Sample(c, c, c), Sample(b, b, b)
        evidence.append(
            compare("first", 1.0, str(i), 0, baseline, candidate, never)
            if together
            else Evidence(str(i), i, baseline, candidate, never, np.zeros(len(b)), (), np.arange(len(b)))
        )
    question = Comparison("study", "", "", ("b", "c"), test="first", paired=together)
    return ENDPOINTS["first"].size(question, evidence, np.random.default_rng(0))[1] or (0.0, np.inf)


@functools.cache
def truth(setting: Setting, shared: float) -> float:
    """The factor between times; rounding up to evaluations moves it, to the ratio of means."""
    if setting.coarse == 1:
        return math.exp(MIDDLES[0] - MIDDLES[1])
    c, b = times(np.random.default_rng(1), setting, 10**6, shared)
    return float(c.mean() / b.mean())


def of_pairs(rng: np.random.Generator, setting: Setting, n: int) -> tuple[Interval, float]:
    return printed(setting, [times(rng, setting, n, 0.3)]), truth(setting, 0.3)


def of_pools(rng: np.random.Generator, setting: Setting, n: int) -> tuple[Interval, float]:
    """Three cells of one number of replicas, which are blocks."""
    return printed(setting, [times(rng, setting, n, 0.3) for _ in range(3)]), truth(setting, 0.3)


def of_runs(rng: np.random.Generator, setting: Setting, n: int) -> tuple[Interval, float]:
    """Unpaired: twice as many runs of the baseline, and nothing shared."""
    c, b = times(rng, setting, n, 0.0)[0], times(rng, setting, 2 * n, 0.0)[1]
    return printed(setting, [[c, b]], together=False), truth(setting, 0.0)


def of_differences(rng: np.random.Generator, setting: Setting, n: int) -> tuple[Interval, float]:
    """Of a quantity, pair by pair; and so from a fixed number."""
    gaps = rng.normal(0.02, 0.1, n)
    return paired.mean_difference([gaps[None]])[1], 0.02


def of_means(rng: np.random.Generator, setting: Setting, n: int) -> tuple[Interval, float]:
    """Of a quantity, unpaired, with unlike deviations."""
    return unpaired.difference_interval([rng.normal(0.02, 0.1, n)], [rng.normal(0, 0.2, 2 * n)]), 0.02


METHODS: dict[
    str, tuple[Callable[[np.random.Generator, Setting, int], tuple[Interval, float]], tuple[Setting, ...]]
] = {
    "time ratio, pairs": (of_pairs, SETTINGS),
    "time ratio, pooled over three cells": (of_pools, SETTINGS),
    "time ratio, unpaired": (of_runs, SETTINGS),
    "difference, pairs or a fixed number": (of_differences, SETTINGS[:1]),
    "difference, unpaired": (of_means, SETTINGS[:1]),
}


def coverage(name: str, setting: Setting, n: int, samples: int) -> tuple[float, float]:
    """The share of intervals that hold the truth, and of samples that have one at all."""
    rng = np.random.default_rng([n, *name.encode(), *setting.name.encode()])
    hits = shown = 0
    for _ in range(samples):
        (low, high), true = METHODS[name][0](rng, setting, n)
        there = np.isfinite(high) or low > 0
        shown += there
        hits += bool(there) and low <= true <= high
    return hits / max(shown, 1), shown / samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--only", default="", help="the methods whose names hold this")
    parser.add_argument("--shown", action="store_true", help="how often there is an interval, instead")
    options = parser.parse_args()
    print(f"{'runs in an arm (the candidate`s)':<52}" + "".join(f"{n:>6}" for n in PAIRS))
    for name, (_, settings) in METHODS.items():
        for setting in settings if options.only in name else ():
            found = [coverage(name, setting, n, options.samples) for n in PAIRS]
            cells = [share if options.shown else held if share else math.nan for held, share in found]
            shown = "".join(f"{'–' if math.isnan(x) else f'{x:.2f}':>6}" for x in cells)
            print(f"{name + ', ' + setting.name:<52}" + shown, flush=True)


if __name__ == "__main__":
    main()
