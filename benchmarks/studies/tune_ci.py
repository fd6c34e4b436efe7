"""How the rates and the weight decay of the preset `ci` were chosen: one rule, the same for both optimizers.

    python benchmarks/studies/tune_ci.py [--store tuning.sqlite]

Both arms have the same weight decay, as published ("equivalent weight decay strengths"), 0.3 or 1. For each of the
two, each optimizer gets four learning rates, a factor of 2 apart, on three tasks under all three softmaxes with two
replicas that no verdict uses. The score of a setting is the geometric mean over those nine cells of the mean time to
the first crossing, with the budget, here 600 epochs, for a run that did not grok; each optimizer takes the rate with
the smallest score. AdamW goes first; Muon's own AdamW, for embedding, head and gains, then has AdamW's rate, so that
the arms differ in the hidden matrices alone. The weight decay is the one with the smaller product of the two scores.

A first form of the rule had weight decay 1 and looked at softmax alone. What it chose (AdamW 0.008, Muon 0.01) left
both arms unable even to fit subtraction and division under stablemax and sparsemax, which the first verdicts showed,
so the rule was widened to all softmaxes and to a second weight decay, for both arms alike, and the verdicts were taken
anew.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace

from grokbench.claims import Cell
from grokbench.claims.presets import PRESETS
from grokbench.records.store import Store
from grokbench.spec import RunSpec
from grokbench.spec.registry import parse
from grokbench.training.local import Executor

TASKS = ("add", "mul", "div")
REPLICAS = range(1000, 1002)
BUDGET = 600
DECAYS = (0.3, 1.0)
ADAMW_RATES = (0.002, 0.004, 0.008, 0.016)
MUON_RATES = (0.005, 0.01, 0.02, 0.04)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="tuning.sqlite")
    executor = Executor(Store(parser.parse_args().store))
    products = {}
    for decay in DECAYS:
        adamw, rate = best(executor, {r: f"adamw(lr={r}, weight_decay={decay})" for r in ADAMW_RATES})
        muon, _ = best(executor, {r: f"muon(lr={r}, weight_decay={decay}, adamw_lr={rate})" for r in MUON_RATES})
        products[decay] = adamw * muon
        print(f"weight decay {decay}: product of the scores {products[decay]:.0f}")
    print(f"chosen: weight decay {min(products, key=products.__getitem__)}")


def best(executor: Executor, settings: dict[float, str]) -> tuple[float, float]:
    """The smallest score among these settings of an optimizer, and its rate."""
    ci = PRESETS["ci"]
    criterion = replace(ci.criterion, budget=BUDGET)
    cells = [Cell(task, softmax) for task in ci.tasks if task.name in TASKS for softmax in ci.softmaxes]

    def run(text: str, cell: Cell, replica: int) -> RunSpec:
        return RunSpec(cell.task, cell.softmax, ci.model, parse(text), criterion, ci.batch, replica)

    # All at once, so that every rate of one cell shares an ensemble.
    executor.records([run(text, c, replica) for text in settings.values() for c in cells for replica in REPLICAS])
    scores = []
    for rate, text in settings.items():
        logs = []
        for cell in cells:
            records = executor.records([run(text, cell, replica) for replica in REPLICAS]).values()
            epochs = [record.time.epoch for record in records]
            print(f"{text} {cell}: {epochs}")
            logs.append(math.log(sum(epoch or BUDGET for epoch in epochs) / len(epochs)))
        scores.append((math.exp(sum(logs) / len(logs)), rate))
        print(f"{text} score {scores[-1][0]:.1f}")
    return min(scores)


if __name__ == "__main__":
    main()
