"""A first step of plug-ins before anything is trained, so that what cannot work is not found after the baseline."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import torch

from grokbench.models.module import initial
from grokbench.models.transformer import Stack
from grokbench.numerics.frame import numerics
from grokbench.optim.stack import Optimizer
from grokbench.spec import OptimizerSpec, RunSpec, UsageError
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
    for what the optimizer does wrong, and for a warm-up that does not reach its rate.
    """
    with numerics():
        start, stepped = _stepped(run, device)
        if run.optimizer.warmup > 1 and run.optimizer.name not in BUILT_IN:
            at_once = dataclasses.replace(run, optimizer=dataclasses.replace(run.optimizer, warmup=0))
            if not torch.equal(start, stepped) and torch.equal(stepped, _stepped(at_once, device)[1]):
                name, warmup = run.optimizer.name, run.optimizer.warmup
                raise UsageError(
                    f"{name} keeps a rate of its own, whatever its parameter groups say: "
                    f"warmup={warmup} would do nothing"
                )


def _stepped(run: RunSpec, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, P) the weights of a replica before and after one step on arbitrary gradients."""
    weights = initial(run.model, run.task, run.key)
    stack = Stack(weights.slices, weights.flat.to(device))
    start = stack.flat.clone()
    optimizer = Optimizer(run.optimizer, stack)
    optimizer.load(0, run)
    optimizer.step(Stack(stack.slices, stack.flat.roll(1, dims=1)))
    return start, stack.flat
