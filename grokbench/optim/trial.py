"""A first step of plug-ins before anything is trained, so that what cannot work is not found after the baseline."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from grokbench.models.module import initial
from grokbench.models.transformer import Stack
from grokbench.numerics.frame import numerics
from grokbench.optim.stack import Optimizer
from grokbench.spec import OptimizerSpec, RunSpec
from grokbench.spec.registry import BUILT_IN


def plugged(runs: Iterable[RunSpec]) -> dict[OptimizerSpec, RunSpec]:
    """The plug-ins among the optimizers of these runs, each with the first of its runs."""
    found: dict[OptimizerSpec, RunSpec] = {}
    for run in runs:
        if run.optimizer.name not in BUILT_IN:
            found.setdefault(run.optimizer, run)
    return found


def attempt(run: RunSpec, device: torch.device) -> None:
    """Make the optimizer of a run for one replica of its model, and let it do one step on arbitrary gradients.

    The shapes and the device are the run's own, so that nothing is refused that would have worked. Raises `UsageError`
    for what the optimizer does wrong.
    """
    with numerics():
        weights = initial(run.model, run.task, run.key)
        stack = Stack(weights.slices, weights.flat.to(device))
        optimizer = Optimizer(run.optimizer, stack)
        optimizer.load(0, run)
        optimizer.step(Stack(stack.slices, stack.flat.roll(1, dims=1)))
