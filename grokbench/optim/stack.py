"""Builds an optimizer for a stack of weights from its spec, out of parts that each own a range of every row.

Shapes: E replicas, P parameters of a replica.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from types import ModuleType
from typing import Any, Protocol

import torch
from torch import Tensor

from grokbench.models.transformer import Flat, Stack
from grokbench.numerics.compiled import compiled
from grokbench.optim import adamw, muon, sgd
from grokbench.optim.filters import build
from grokbench.optim.together import adapter
from grokbench.spec import RATES, OptimizerSpec, RunSpec
from grokbench.spec.registry import BUILT_IN

RULES: dict[str, ModuleType] = {"adamw": adamw, "muon": muon, "sgd": sgd}


class Part(Protocol):
    """What acts on a range of the parameters of every replica.

    recordable: a step is the same launches on the same tensors each time, and waits for nothing.
    """

    recordable: bool

    def load(self, slot: int, run: RunSpec) -> None:
        """Begin anew in a slot, with this run's rates and no memory of the run before."""

    def step(self, gradients: Stack, count: Tensor, warmth: Tensor | None) -> None:
        """One step of every replica. count (E, 1) float64 from 1; warmth (E, 1) in (0, 1], if any, scales the rates."""

    def clear(self, slot: int) -> None:
        """Do nothing for this slot any more."""

    def select(self, slots: Sequence[int], weights: Stack) -> None:
        """Keep the state of these slots alone; their weights have moved to `weights`."""

    def evaluating(self, slots: Sequence[int], count: Tensor) -> AbstractContextManager[None]:
        """While these slots are evaluated, after `count` (E, 1) steps, their weights may be others."""


class Rule:
    """A built-in update rule with its stacked state and a rate and a decay for each replica."""

    recordable = True

    def __init__(
        self, name: str, weights: Stack, hyper: dict[str, Any], lr: str = "lr", *, compile: bool = False
    ) -> None:
        self._rule, self._hyper, self._lr_name = RULES[name], hyper, lr
        self._weights = weights
        self._compiled = self._compile(name) if compile and not BUILT_IN[name].matrices else None
        self._state = {key: torch.zeros_like(weights.flat) for key in self._rule.STATE}
        self._lr, self._decay = (weights.flat.new_zeros(len(weights.flat), 1) for _ in range(2))

    def load(self, slot: int, run: RunSpec) -> None:
        hyper: dict[str, Any] = dict(run.optimizer.hyperparameters)
        for tensor in self._state.values():
            tensor[slot] = 0
        self._lr[slot] = hyper[self._lr_name]
        own = hyper.get("adamw_weight_decay") if self._lr_name == "adamw_lr" else None
        self._decay[slot] = hyper.get("weight_decay", 0.0) if own is None else own

    def _compile(self, name: str) -> Callable[..., None]:
        """The update as a function of tensors alone; for matrices, products are the most of it anyway."""
        update, hyper, flat = self._rule.update, self._hyper, self._weights.flat

        def own(w: Tensor, g: Tensor, state: dict[str, Tensor], count: Tensor, lr: Tensor, decay: Tensor) -> None:
            update(Flat(w), Flat(g), state, hyper, count, lr, decay)

        fixed = tuple(sorted((key, value) for key, value in hyper.items() if key not in RATES))
        key = (name, fixed, flat.shape, flat.stride(), flat.dtype, flat.device)
        return compiled(key, own)

    def step(self, gradients: Stack, count: Tensor, warmth: Tensor | None) -> None:
        lr = self._lr if warmth is None else self._lr * warmth
        if self._compiled:
            self._compiled(self._weights.flat, gradients.flat, self._state, count, lr, self._decay)
        else:
            self._rule.update(self._weights, gradients, self._state, self._hyper, count, lr, self._decay)

    def clear(self, slot: int) -> None:
        self._lr[slot] = self._decay[slot] = 0  # whatever the update, it is multiplied by this

    def select(self, slots: Sequence[int], weights: Stack) -> None:
        self._weights = weights
        self._state = {key: tensor[slots] for key, tensor in self._state.items()}
        self._lr, self._decay = self._lr[slots], self._decay[slots]

    def evaluating(self, slots: Sequence[int], count: Tensor) -> AbstractContextManager[None]:
        return nullcontext()


class Optimizer:
    """The optimizer of E replicas: one part, or one for the hidden matrices and AdamW for the rest."""

    def __init__(self, spec: OptimizerSpec, weights: Stack, *, compile: bool = False) -> None:
        self._warmup = spec.warmup
        self._count = torch.zeros(len(weights.flat), 1, dtype=torch.float64, device=weights.flat.device)
        hyper = dict(spec.hyperparameters)
        self._weights, self._filter = weights, build(spec.filter, weights) if spec.filter else None
        built_in = BUILT_IN.get(spec.name)
        self._split = built_in.matrices if built_in else spec.matrices_only
        ranges = self._ranges(weights)
        first: Part = Rule(spec.name, ranges[0], hyper, compile=compile) if built_in else adapter(ranges[0])
        self._parts: list[Part] = [first]
        if self._split:
            rest = hyper if built_in else dict(BUILT_IN["adamw"].defaults)
            self._parts.append(Rule("adamw", ranges[1], rest, lr="adamw_lr", compile=compile))

    def _ranges(self, stack: Stack) -> list[Stack]:
        return [stack.part(hidden) for hidden in (True, False)] if self._split else [stack]

    @property
    def recordable(self) -> bool:
        """Whether a step can be recorded as a CUDA graph."""
        return all(part.recordable for part in self._parts)

    def load(self, slot: int, run: RunSpec) -> None:
        self._count[slot] = 0
        for part in self._parts:
            part.load(slot, run)

    def clear(self, slot: int) -> None:
        """Leave this slot's weights alone from now on, until it is loaded again."""
        for part in self._parts:
            part.clear(slot)

    @torch.no_grad()
    def step(self, gradients: Stack) -> None:
        """Change the weights of all replicas by their gradients, which are left untouched."""
        self._count += 1
        dtype = gradients.flat.dtype
        warmth = (self._count / self._warmup).clamp(max=1).to(dtype) if self._warmup else None
        if self._filter:
            gradients = Stack(gradients.slices, self._filter.apply(self._weights, gradients, self._count))
        for part, own in zip(self._parts, self._ranges(gradients), strict=True):
            part.step(own, self._count, warmth)

    def select(self, slots: Sequence[int], weights: Stack) -> None:
        self._count, self._weights = self._count[slots], weights
        if self._filter:
            self._filter.select(slots)
        for part, own in zip(self._parts, self._ranges(weights), strict=True):
            part.select(slots, own)

    @contextmanager
    def evaluating(self, slots: Sequence[int]) -> Iterator[None]:
        """While these slots are evaluated, their weights are those that their optimizers want evaluated."""
        with ExitStack() as stack:
            for part in self._parts:
                stack.enter_context(part.evaluating(slots, self._count))
            yield


def family(spec: OptimizerSpec) -> OptimizerSpec:
    """The spec without what may differ between the replicas of one stack.

    Every replica has a plug-in's object of its own, so plug-ins of several names are trained in one stack, as in a gate
    a baseline and its candidate.
    """
    if spec.name not in BUILT_IN:
        return OptimizerSpec("plug-in", (), spec.warmup, spec.filter, spec.matrices_only)
    return dataclasses.replace(spec, hyperparameters=tuple(h for h in spec.hyperparameters if h[0] not in RATES))
