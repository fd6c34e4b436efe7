"""How often a gate raises a false alarm, and finds a planted regression, on recorded grok times.

    python benchmarks/studies/gates.py [--gates 200]

Two kinds of pairs of one optimizer with itself. *Twins* are pairs as a gate has them, of one replica each, where the
optimizer rounds otherwise (records/twins.jsonl: AdamW and Muon of the preset smoke, 32 pairs each, `eps` doubled);
which of the two is the candidate is drawn, so that neither is earlier. *Strangers* are any two replicas of AdamW in one
cell of the preset ci (records/ci.jsonl), as if nothing were left of the pairing. Pairs are drawn with replacement; a
regression is planted in all or some of the candidate's runs, which are censored at the budget. The gate has its default
margin, level and number of pairs. In the rows of three tasks, each task has such pairs, and the change is in one of
them; a task that is exactly on the margin must not pass more often than the level says, whatever the others do.
The interval of the ratio that a gate prints is looked at where the gate stopped: how often it holds the planted factor.

records/twins.jsonl is made by `python benchmarks/studies/gates.py --keep STORE`, which trains what the store lacks.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from grokbench.claims import Cell, presets
from grokbench.gates.decision import GateOutcome, Pairs, Times, decide, looks, rule
from grokbench.gates.gate import LEVEL, MARGIN, MAX_PAIRS
from grokbench.gates.setting import Setting, setting_of
from grokbench.records import jsonl
from grokbench.records.store import Record, Store
from grokbench.spec import TASKS, OptimizerSpec, registry
from grokbench.stats.paired import Floats
from grokbench.training.trainer import Trainer

FOLDER = Path(__file__).parents[1] / "records"
TWINS = {"adamw": "adamw(eps=2e-8)", "muon": "muon(eps=2e-8)"}
PAIRS = 32
STRANGERS = ("add-softmax", "sub-softmax", "div-softmax", "exp-softmax")


class Change(NamedTuple):
    """What is planted: so large a share of the candidate's runs is a factor later; an infinite one never groks."""

    name: str
    factor: float
    share: float = 1.0


CHANGES = (
    Change("nothing", 1.0),
    Change("all 10 % later", 1.1),
    Change("all 25 % later", 1.25),
    Change("all 50 % later", 1.5),
    Change("one in ten never groks", np.inf, 0.1),
    Change("one in four never groks", np.inf, 0.25),
    Change("one in five is 3 times as late", 3.0, 0.2),
)


FACTORS = (0.7, 1.0, 1.1, 1.5, 3.0)  # of which the interval is looked at


class Pool(NamedTuple):
    """Recorded times of one cell, arrays (n, 2) of first crossing and sustained time; paired: row by row."""

    cell: Cell
    never: float
    baseline: Floats
    candidate: Floats
    paired: bool


def _times(found: list[Record], never: float) -> Floats:
    return np.array([[r.time.epoch or never, r.time.held or never] for r in found], dtype=float)


def _setting(preset: str) -> Setting:
    return setting_of(preset, (), (), None, "cpu", "unused", None)


def _runs(setting: Setting, cell: Cell, text: str, count: int) -> list[str]:
    spec: OptimizerSpec = registry.parse(text, setting.preset.optimizers)
    return [run.digest for run in setting.runs(cell, spec, count)]


def twins() -> dict[str, list[Pool]]:
    """By optimizer, its pairs with itself."""
    setting, have = _setting("smoke"), jsonl.load(FOLDER / "twins.jsonl")
    (cell,), never = setting.cells, setting.budget + 1.0
    pools = {}
    for one, other in TWINS.items():
        arms = [_times([have[d] for d in _runs(setting, cell, text, PAIRS)], never) for text in (one, other)]
        pools[one] = [Pool(cell, never, arms[0], arms[1], True)]
    return pools


def strangers() -> list[Pool]:
    """AdamW in some cells of the preset ci."""
    setting, have = _setting("ci"), jsonl.load(FOLDER / "ci.jsonl")
    pools, never = [], setting.budget + 1.0
    for cell in setting.cells:
        if str(cell) in STRANGERS:
            own = [have[d] for d in _runs(setting, cell, "adamw", setting.preset.replicas) if d in have]
            times = _times(own, never)
            pools.append(Pool(cell, never, times, times, False))
    return pools


def draw(rng: np.random.Generator, pool: Pool, count: int, change: Change) -> Pairs:
    """So many pairs, with a change of the candidate."""
    one = rng.integers(0, len(pool.baseline), count)
    other = one if pool.paired else rng.integers(0, len(pool.candidate), count)
    arms = np.stack([pool.baseline[one], pool.candidate[other]])
    swapped = rng.random(count) < 0.5
    arms[:, swapped] = arms[::-1, swapped]
    baseline, candidate = arms
    struck = rng.random((count, 1)) < change.share
    late = np.minimum(np.where(struck, candidate * change.factor, candidate), pool.never)
    return Pairs(pool.cell, pool.never, Times(*baseline.T), Times(*late.T))


def first(pairs: Pairs, count: int) -> Pairs:
    """The first pairs of a cell."""
    arms = [Times(t.first[:count], t.sustained[:count]) for t in (pairs.baseline, pairs.candidate)]
    return Pairs(pairs.cell, pairs.never, *arms)


def one_gate(rng: np.random.Generator, pool: Pool, change: Change, tasks: int = 1) -> tuple[GateOutcome, list[Pairs]]:
    """The outcome of a simulated gate, and the pairs that it took. The first task has the change."""
    cells = [pool.cell._replace(task=replace(pool.cell.task, name=name)) for name in TASKS[:tasks]]
    changes = [change, *[CHANGES[0]] * (tasks - 1)]
    everything = [draw(rng, pool._replace(cell=cell), MAX_PAIRS, own) for cell, own in zip(cells, changes, strict=True)]
    for count in looks(MAX_PAIRS):
        taken = [first(pairs, count) for pairs in everything]
        outcome, _ = rule(taken, MARGIN, LEVEL)
        if outcome is not GateOutcome.INCONCLUSIVE:
            break
    return outcome, taken


def rates(
    pools: list[Pool], change: Change, gates: int, seed: int = 0, tasks: int = 1
) -> tuple[float, float, float, float]:
    """Shares of REGRESSION, of PASS or IMPROVED, and of INCONCLUSIVE, and the mean number of pairs in each task."""
    rng = np.random.default_rng(seed)
    found = [one_gate(rng, pools[i % len(pools)], change, tasks) for i in range(gates)]
    kinds = ({GateOutcome.REGRESSION}, {GateOutcome.PASS, GateOutcome.IMPROVED}, {GateOutcome.INCONCLUSIVE})
    bad, fine, open_ = (float(np.mean([outcome in kind for outcome, _ in found])) for kind in kinds)
    return bad, fine, open_, float(np.mean([len(taken[0]) for _, taken in found]))


def covered(pools: list[Pool], factor: float, gates: int, seed: int = 0) -> float:
    """How often the interval of a gate, where it stopped, holds the factor by which all of the candidate is later."""
    rng = np.random.default_rng(seed)
    held = []
    for i in range(gates):
        _, taken = one_gate(rng, pools[i % len(pools)], Change("", factor))
        low, high = decide(taken, MARGIN, LEVEL).interval or (0.0, np.inf)
        held.append(low <= factor <= high)
    return float(np.mean(held))


def keep(path: str) -> None:
    """Train the twins and keep their records."""
    setting = _setting("smoke")
    preset = presets.get("smoke")
    store = Store(path)
    trainer = Trainer(store)
    specs = [registry.parse(text, preset.optimizers) for pair in TWINS.items() for text in pair]
    found = trainer.train([run for spec in specs for run in setting.runs(setting.cells[0], spec, PAIRS)])
    trainer.close()
    store.close()
    jsonl.save(FOLDER / "twins.jsonl", found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--gates", type=int, default=200)
    parser.add_argument("--keep", metavar="STORE")
    options = parser.parse_args()
    if options.keep:
        keep(options.keep)
    kinds = {f"twins, {name}": pools for name, pools in twins().items()} | {"strangers": strangers()}
    print("| pairs | tasks | planted, in one task | REGRESSION | PASS or IMPROVED | INCONCLUSIVE | mean pairs |")
    print("|---|---|---|---|---|---|---|")
    for kind, pools in kinds.items():
        for tasks, change in [(1, change) for change in CHANGES] + [(3, change) for change in CHANGES[:3]]:
            bad, fine, open_, pairs = rates(pools, change, options.gates, tasks=tasks)
            print(f"| {kind} | {tasks} | {change.name} | {bad:.3f} | {fine:.3f} | {open_:.3f} | {pairs:.1f} |")
    print("\n| pairs | all later by | the interval holds it |\n|---|---|---|")
    for kind, pools in kinds.items():
        for factor in FACTORS:
            print(f"| {kind} | {factor:g} | {covered(pools, factor, options.gates):.3f} |")


if __name__ == "__main__":
    main()
