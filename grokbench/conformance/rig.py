"""A small stack of replicas with given gradients, and one replica under torch, for checks of an optimizer.

Shapes: E replicas, P parameters of a replica.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from grokbench.conformance.outcome import ConformanceError
from grokbench.models.transformer import Stack, layout, row_size
from grokbench.optim.adapter import build, foreign
from grokbench.optim.stack import Optimizer
from grokbench.spec import GrokCriterion, ModelSpec, OptimizerSpec, RunSpec, UsageError, task

MODEL = ModelSpec(width=16, depth=1, heads=2, feed_forward=32)
TASK = task("add", 7)
SLICES = layout(MODEL, TASK.vocabulary, TASK.classes)
SIZE = row_size(SLICES)
REPLICAS = 3
STEPS = 12  # so that what happens in every tenth step happens once

Named = list[tuple[str, nn.Parameter]]
Gradient = Callable[[int, Tensor], Tensor]
"""From the step, counted from 0, and the weights (E, P) to the gradients (E, P)."""


def run_of(spec: OptimizerSpec, replica: int = 0) -> RunSpec:
    """A short run with this optimizer."""
    return RunSpec(TASK, "softmax", MODEL, spec, GrokCriterion(budget=2), batch=16, replica=replica)


def noise(steps: int = STEPS, replicas: int = REPLICAS, scale: float = 0.1, seed: int = 0) -> Tensor:
    """(steps, E, P) float64 gradients with a mean of their own for every parameter, and the same for every call."""
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(1, replicas, SIZE, generator=generator, dtype=torch.float64)
    spread = torch.randn(steps, replicas, SIZE, generator=generator, dtype=torch.float64)
    return scale * (mean + spread) / 2**0.5


def weights(replicas: int = REPLICAS, seed: int = 1) -> Tensor:
    """(E, P) float64 weights to begin with."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(replicas, SIZE, generator=generator, dtype=torch.float64) / 4


def trajectory(
    spec: OptimizerSpec,
    gradient: Tensor | Gradient,
    steps: int = STEPS,
    start: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    untouched: bool = False,
) -> Tensor:
    """(steps + 1, E, P) the weights at the start and after each step. gradient: (steps, E, P), or a function.

    untouched: raise `ConformanceError` if the gradients are written to.
    """
    start = weights() if start is None else start
    stack = Stack(SLICES, start.to(dtype, copy=True))
    optimizer = Optimizer(spec, stack)
    for slot in range(len(start)):
        optimizer.load(slot, run_of(spec, slot))
    states = [stack.flat.clone()]
    for t in range(steps):
        given = gradient(t, stack.flat) if callable(gradient) else gradient[t].to(dtype, copy=True)
        kept = given.clone()
        optimizer.step(Stack(SLICES, given))
        if untouched and not same(kept, given):
            raise ConformanceError(f"step {t + 1} writes into the gradients")
        states.append(stack.flat.clone())
    return torch.stack(states)


def same(a: Tensor, b: Tensor) -> bool:
    """Bit-equality; NaN equals NaN."""
    return a.shape == b.shape and bool(torch.equal(a.nan_to_num(7e77), b.nan_to_num(7e77)))


def torch_optimizer(spec: OptimizerSpec) -> tuple[Named, torch.optim.Optimizer]:
    """One replica under the plug-in itself: named parameters, and its optimizer of them."""
    chosen = [s for s in SLICES if s.hidden or not spec.matrices_only]
    row = weights()[0].float()
    named = [(s.name, nn.Parameter(row[s.offset : s.offset + s.size].reshape(s.shape).clone())) for s in chosen]
    with foreign(spec, run_of(spec).key, 0, torch.device("cpu")):
        return named, build(spec, list(named))


def restored(spec: OptimizerSpec, named: Named, state: dict[str, Any]) -> tuple[Named, torch.optim.Optimizer]:
    """Copies of these parameters, and a new optimizer of them with this state."""
    copies = [(name, nn.Parameter(p.detach().clone())) for name, p in named]
    with foreign(spec, run_of(spec).key, 0, torch.device("cpu")):
        optimizer = build(spec, copies)
        optimizer.load_state_dict(state)
    return copies, optimizer


def give(named: Named, row: Tensor) -> None:
    """Take a row (P,) as the gradients of these parameters."""
    places = {s.name: s for s in SLICES}
    for name, p in named:
        s = places[name]
        p.grad = row[s.offset : s.offset + s.size].reshape(s.shape).float().clone()


def fill(named: Named, row: Tensor) -> None:
    """Write a row (P,) into the gradients that these parameters have, or give them their first ones."""
    kept = [p.grad for _, p in named]
    give(named, row)
    for (_, p), old in zip(named, kept, strict=True):
        if old is not None and p.grad is not None:
            p.grad = old.copy_(p.grad)


def step(spec: OptimizerSpec, optimizer: torch.optim.Optimizer, t: int) -> None:
    """Step number t, counted from 0, on the run's own random numbers."""
    with foreign(spec, run_of(spec).key, t + 1, torch.device("cpu")):
        optimizer.step()


def with_spectrum(shape: Sequence[int], values: Sequence[float] | NDArray[np.floating], seed: int = 0) -> Tensor:
    """(out, into) float64 matrix with these singular values, min(out, into) of them, between random bases."""
    out, into = shape
    generator = torch.Generator().manual_seed(seed)
    small = min(out, into)
    sigma = torch.as_tensor(np.asarray(values, dtype=float))
    if sigma.shape != (small,) or not (sigma >= 0).all():
        raise UsageError(f"a matrix of shape ({out}, {into}) has {small} singular values that are not negative")
    left, right = (
        torch.linalg.qr(torch.randn(side, small, generator=generator, dtype=torch.float64))[0] for side in (out, into)
    )
    made: Tensor = left * sigma @ right.mT
    return made
