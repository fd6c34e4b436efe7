"""Where a training step goes, in microseconds a replica, and the memory that it needs.

    OMP_NUM_THREADS=1 python benchmarks/profile_step.py muon --preset ci --replicas 8

Operations are timed one by one, which costs a little itself, so the parts may add up to more than the step. Medians.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections import defaultdict
from dataclasses import replace
from typing import Any

import torch
import work
from torch.utils._python_dispatch import TorchDispatchMode

from grokbench.engine.ensemble import Ensemble
from grokbench.training.local import _keep_freed_memory

ROUNDS = 20


class Clock(TorchDispatchMode):
    """Adds up the seconds of operations by part of the step."""

    def __init__(self, replicas: int, rows: int, width: int, inner: int, classes: int, parameters: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds: dict[str, float] = defaultdict(float)
        self._rows, self._inner, self._classes, self._width = rows, inner, classes, width
        self._replicas, self._parameters = replicas, parameters

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        began = time.perf_counter()
        result = func(*args, **(kwargs or {}))
        seconds = time.perf_counter() - began
        shapes = [tuple(a.shape) for a in args if isinstance(a, torch.Tensor)]
        self.seconds[self._part(str(func), shapes)] += seconds
        return result

    def _part(self, name: str, shapes: list[tuple[int, ...]]) -> str:
        if "bmm" in name:
            return "matrix products"
        if any(len(s) == 2 and s[0] == self._replicas and s[1] > self._parameters // 20 for s in shapes):
            return "optimizer, element by element"
        if any(len(s) > 3 and self._rows in s for s in shapes) or "index_" in name:
            return "attention and look-ups"
        ends = {s[-1] for s in shapes if len(s) == 3 and s[1] >= self._rows}
        if self._inner in ends:
            return "feed-forward, element by element"
        if self._width in ends or 1 in ends:
            return "norms and residuals"
        return "loss" if any(s and s[-1] == self._classes for s in shapes) else "the rest"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("optimizer")
    parser.add_argument("--preset", default="ci")
    parser.add_argument("--replicas", type=int, default=8)
    options = parser.parse_args()
    _keep_freed_memory()
    run = work.preset_run(options.preset, options.optimizer)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ensemble = Ensemble(run, options.replicas, torch.device("cpu"))
    for slot in range(options.replicas):
        ensemble.load(slot, replace(run, replica=slot))
    rows = ensemble._train[:, : run.batch].clone()
    parameters = ensemble._weights.flat.shape[1]
    clock = Clock(
        options.replicas, run.batch, run.transformer.width, run.transformer.feed_forward, run.task.classes, parameters
    )
    steps, parts = [], defaultdict(list)
    for _ in range(ROUNDS):
        began = time.perf_counter()
        ensemble._step(rows)
        steps.append(time.perf_counter() - began)
        clock.seconds.clear()
        with clock:
            ensemble._step(rows)
        for part, seconds in clock.seconds.items():
            parts[part].append(seconds)
    medians = {part: statistics.median(seconds) / options.replicas for part, seconds in parts.items()}
    for part, seconds in sorted(medians.items(), key=lambda item: -item[1]):
        print(f"{part:34s} {seconds * 1e6:8.0f} µs {seconds / sum(medians.values()):6.1%}")
    print(f"{'the step, untimed inside':34s} {statistics.median(steps) / options.replicas * 1e6:8.0f} µs")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    floor = options.replicas * parameters * 4 * 2
    print(f"memory {peak / 2**20:.2f} GiB, of which weights and gradients {floor / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
