"""How the rates of the preset `ci` were chosen: one rule, the same for both optimizers.

    python benchmarks/tune_ci.py [--store tuning.sqlite]

Weight decay is 1 for both, as published ("equivalent weight decay strengths"). Each optimizer gets five learning
rates, a factor of 2 apart, on three tasks under softmax with four replicas that no verdict uses. The rate with
the smallest score is taken, the score being the geometric mean over the tasks of the mean time to the first
crossing, with the budget for a run that did not grok. AdamW goes first; Muon's own AdamW, for embedding, head
and gains, then has AdamW's rate, so that the arms differ in the hidden matrices alone.
"""

from __future__ import annotations

import argparse
import math

from grokbench.executor import Executor
from grokbench.optim.registry import parse
from grokbench.presets import PRESETS
from grokbench.spec import RunSpec
from grokbench.store import Store

TASKS = ("add", "mul", "div")
REPLICAS = range(1000, 1004)
GRIDS = {
    "adamw": ("adamw(lr={})", (0.001, 0.002, 0.004, 0.008, 0.016)),
    "muon": ("muon(lr={}, adamw_lr={})", (0.005, 0.01, 0.02, 0.04, 0.08)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", default="tuning.sqlite")
    executor = Executor(Store(parser.parse_args().store))
    ci = PRESETS["ci"]
    tasks = [task for task in ci.tasks if task.name in TASKS]
    best: list[float] = []
    for name, (text, rates) in GRIDS.items():
        runs = {
            (rate, task): [
                RunSpec(task, "softmax", ci.model, parse(text.format(rate, *best)), ci.criterion, ci.batch, replica)
                for replica in REPLICAS
            ]
            for rate in rates
            for task in tasks
        }
        records = executor.records([run for cell in runs.values() for run in cell])
        scores = {}
        for rate in rates:
            means = []
            for task in tasks:
                epochs = [records[run.digest].time.epoch for run in runs[rate, task]]
                means.append(sum(epoch or ci.criterion.budget for epoch in epochs) / len(epochs))
                print(f"{name} lr={rate:<6} {task.name}: {epochs}")
            scores[rate] = math.exp(sum(map(math.log, means)) / len(means))
            print(f"{name} lr={rate:<6} score {scores[rate]:.1f}")
        best = [min(scores, key=scores.__getitem__)]
        print(f"{name}: lr={best[0]}")


if __name__ == "__main__":
    main()
