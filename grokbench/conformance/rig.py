"""A small stack of replicas with given gradients, and one replica under torch, for checks of an optimizer.

Shapes: E replicas, P parameters of a replica.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from grokbench.conformance.outcome import ConformanceError
from grokbench.models.transformer import Slice, Stack, layout, row_size
from grokbench.optim.adapter import build, framed, two_modes
from grokbench.optim.stack import Optimizer
from grokbench.spec import GrokCriterion, ModelSpec, OptimizerSpec, RunSpec, UsageError, task

MODEL = ModelSpec(width=16, depth=1, heads=2, feed_forward=32)
TASK = task("add", 7)
SLICES = layout(MODEL, TASK.vocabulary, TASK.classes)
SIZE = row_size(SLICES)
REPLICAS = 3
STEPS = 12  # so that what happens in every tenth step happens once
PATIENT = 16  # as many as the check `runs` trains for: by then everything has moved, or nothing else is looked at

# Of a tiny replica: a tall and a wide matrix, and a vector, with sides of a fourth.
SHRUNK = 4
FEW_PLACES = ("layers.0.feed_forward.up.weight", "layers.0.feed_forward.down.weight", "norm.weight")

Named = list[tuple[str, nn.Parameter]]
Gradient = Callable[[int, Tensor], Tensor]
"""From the step, counted from 0, and the weights (E, P) to the gradients (E, P)."""


def run_of(spec: OptimizerSpec, replica: int = 0) -> RunSpec:
    """A short run with this optimizer."""
    return RunSpec(TASK, "softmax", MODEL, spec, GrokCriterion(budget=2), batch=16, replica=replica)


def noise(steps: int = STEPS, replicas: int = REPLICAS, scale: float = 0.1, seed: int = 0) -> Tensor:
    """(steps, E, P) float64 gradients with a mean of their own for every parameter, and the same for every call."""
    return scale * _drawn(steps, replicas, seed)


@functools.lru_cache(maxsize=16)
def _drawn(steps: int, replicas: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(1, replicas, SIZE, generator=generator, dtype=torch.float64)
    spread = torch.randn(steps, replicas, SIZE, generator=generator, dtype=torch.float64)
    return (mean + spread) / 2**0.5


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
    return torch.stack(list(walk(spec, gradient, steps, start, dtype, untouched)))


def walk(
    spec: OptimizerSpec,
    gradient: Tensor | Gradient,
    steps: int,
    start: Tensor | None = None,
    dtype: torch.dtype = torch.float32,
    untouched: bool = False,
    slices: tuple[Slice, ...] = SLICES,
) -> Iterator[Tensor]:
    """The weights of a trajectory one by one, so that it can end early. slices: the parameters of a replica."""
    start = weights() if start is None else start
    stack = Stack(slices, start.to(dtype, copy=True))
    optimizer = Optimizer(spec, stack)
    for slot in range(len(start)):
        optimizer.load(slot, run_of(spec, slot))
    yield stack.flat.clone()
    for t in range(steps):
        given = gradient(t, stack.flat) if callable(gradient) else gradient[t].to(dtype, copy=True)
        kept = given.clone() if untouched else given
        optimizer.step(Stack(slices, given))
        if untouched and not same(kept, given):
            raise ConformanceError(f"step {t + 1} writes into the gradients")
        yield stack.flat.clone()


def same(a: Tensor, b: Tensor) -> bool:
    """Bit-equality; NaN equals NaN."""
    return a.shape == b.shape and (torch.equal(a, b) or torch.equal(a.nan_to_num(7e77), b.nan_to_num(7e77)))


class Replica:
    """One replica under the plug-in itself: named parameters (float32), and its optimizer of them.

    A row (P,) holds a number for each element of each parameter, in their order. tiny: few parameters and small ones,
    for many steps. without: this parameter. other: as in `build`. Raises `UsageError` for what the plug-in does wrong.
    """

    def __init__(self, spec: OptimizerSpec, *, tiny: bool = False, without: str = "", **other: Any) -> None:
        self.spec, self.count = spec, 0
        chosen = [s for s in SLICES if (s.hidden or not spec.matrices_only) and s.name != without]
        shapes = {s.name: s.shape for s in chosen}
        starts = {s.name: s.offset for s in chosen}
        if tiny:
            shapes = {n: tuple(side // SHRUNK for side in shapes[n]) for n in shapes if n in FEW_PLACES}
            starts = dict(zip(shapes, itertools.accumulate(map(math.prod, shapes.values()), initial=0), strict=False))
        self.places = {name: slice(starts[name], starts[name] + math.prod(shape)) for name, shape in shapes.items()}
        row = weights()[0].float()
        self.named: Named = [
            (n, nn.Parameter(row[self.places[n]].reshape(shape).clone())) for n, shape in shapes.items()
        ]
        with self._frame():
            self.optimizer = trained(build(spec, list(self.named), **other))

    @property
    def size(self) -> int:
        """P: how long a row has to be."""
        return max(place.stop for place in self.places.values())

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for _, p in self.named]

    def give(self, row: Tensor) -> None:
        """Take a row as the gradients."""
        for name, p in self.named:
            p.grad = row[self.places[name]].reshape(p.shape).to(p.dtype, copy=True)

    def pull(self, row: Tensor) -> None:
        """Take a row of noise, with a pull towards zero as of a loss with bounded gradients: no such run overflows."""
        for name, p in self.named:
            noise = row[self.places[name]].reshape(p.shape).to(p.dtype)
            p.grad = 0.1 * ((4 * p.detach()).tanh() + noise)

    def fill(self, row: Tensor) -> None:
        """Write a row into the gradients that these parameters have, or give them their first ones."""
        kept = [p.grad for p in self.parameters]
        self.give(row)
        for p, old in zip(self.parameters, kept, strict=True):
            if old is not None and p.grad is not None:
                p.grad = old.copy_(p.grad)

    def step(self) -> None:
        """The next step, on random numbers of its own."""
        self.count += 1
        with self._frame():
            self.optimizer.step()

    def again(self, state: dict[str, Any]) -> Replica:
        """A new one with these parameters as they are, and this state."""
        other = Replica.__new__(Replica)
        other.spec, other.count, other.places = self.spec, self.count, self.places
        other.named = [(name, nn.Parameter(p.detach().clone())) for name, p in self.named]
        with other._frame():
            other.optimizer = trained(build(self.spec, list(other.named)))
            other.optimizer.load_state_dict(state)
        return other

    def difference(self, other: Replica) -> str:
        """The first parameter whose bits are not those of the other's, or nothing."""
        own = dict(other.named)
        return next((name for name, p in self.named if name in own and not same(p, own[name])), "")

    def _frame(self) -> AbstractContextManager[None]:
        return frame(self.spec, self.count)


def trained(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """An optimizer as it is while it trains, where it tells that from evaluation."""
    if two_modes(optimizer):
        optimizer.train()  # type: ignore[attr-defined]
    return optimizer


def frame(spec: OptimizerSpec, count: int) -> AbstractContextManager[None]:
    """For foreign code, of step number `count` or 0 for when it is made: its errors are `UsageError`s."""
    return framed(spec, count, count, torch.device("cpu"))


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
