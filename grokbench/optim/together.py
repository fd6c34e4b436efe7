"""Plug-ins on a GPU: one optimizer object that steps all replicas, where a trial finds that no bit changes by it.

An optimizer with `foreach` launches a few kernels for all parameters of a group. So replicas with equal settings share
a group, and a step costs what it costs for one replica.
"""

from __future__ import annotations

import copy
import functools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from grokbench.models.transformer import Slice, Stack, row_size
from grokbench.optim.adapter import PerReplica, foreign, two_modes
from grokbench.spec import OptimizerSpec, UsageError

STEPS = 3  # of the trial, between its events


def adapter(spec: OptimizerSpec, weights: Stack) -> PerReplica:
    """The part that steps a plug-in's replicas."""
    device = weights.flat.device
    if device.type != "cuda" or spec.warmup:  # on a processor foreach saves nothing; a warm-up sets each one's rate
        return PerReplica(weights)
    return Together(weights) if _alike(spec, tuple(weights.slices), weights.flat.dtype, device) else PerReplica(weights)


class Together(PerReplica):
    """One object for all replicas. Each is made alone; then its groups join those of the others with equal settings."""

    def __init__(self, weights: Stack) -> None:
        super().__init__(weights)
        self._state: dict[Tensor, Any] = defaultdict(dict)
        self._joint: torch.optim.Optimizer | None = None

    def make(self, slot: int, spec: OptimizerSpec, key: int) -> None:
        """Make the optimizer of the run with this key; it joins the others in the next step."""
        self.clear(slot)
        super().make(slot, spec, key)

    def clear(self, slot: int) -> None:
        for parameter in self._parameters[slot].values():
            self._state.pop(parameter, None)
        super().clear(slot)
        self._joint = None

    def select(self, slots: Sequence[int], weights: Stack) -> None:
        super().select(slots, weights)
        self._joint = None

    def _joined(self) -> torch.optim.Optimizer:
        """An optimizer over the groups of all replicas."""
        known = [optimizer for optimizer in self._optimizers if optimizer]
        groups: dict[str, dict[str, Any]] = {}
        for optimizer in known:
            for number, group in enumerate(optimizer.param_groups):
                settings = {name: value for name, value in group.items() if name != "params"}
                own = groups.setdefault(repr((number, settings)), {**settings, "params": []})
                own["params"] += group["params"]
        joint = copy.copy(known[0])
        joint.param_groups, joint.state = list(groups.values()), self._state  # type: ignore[assignment]
        return joint

    def step(self, gradients: Stack, count: Tensor, warmth: Tensor | None) -> None:
        finite = gradients.flat.isfinite().all(1).tolist()
        fresh = Stack(gradients.slices, gradients.flat.clone()).views
        first: tuple[OptimizerSpec, int, int] | None = None
        for slot, spec in enumerate(self._specs):
            if spec is None:
                continue  # an idle slot
            for name, parameter in self._parameters[slot].items():
                parameter.grad = fresh[name][slot] if finite[slot] else None
            if not finite[slot]:  # foreign code may fail on these; the loss now says that the run has diverged
                self._weights.flat[slot] = torch.nan
            first = first or (spec, self._keys[slot], slot)
        if first is None:
            return
        if self._joint is None:
            self._joint = self._joined()
        spec, key, slot = first
        with foreign(spec, key, int(count[slot]), self._weights.flat.device):
            self._joint.step()
        for slot, own in enumerate(self._specs):
            if own:
                self._check(slot, own)


@functools.lru_cache(maxsize=64)
def _alike(spec: OptimizerSpec, slices: tuple[Slice, ...], dtype: torch.dtype, device: torch.device) -> bool:
    """Whether both kinds of part give the same bits while replicas come, diverge, go and come again."""
    generator = torch.Generator().manual_seed(0)

    def drawn() -> Tensor:
        return torch.randn(3, row_size(slices), generator=generator, dtype=torch.float64).to(dtype).to(device)

    start = drawn()
    stacks = [Stack(slices, start.clone()) for _ in range(2)]
    parts = PerReplica(stacks[0]), Together(stacks[1])
    count = torch.zeros(3, 1, dtype=torch.float64, device=device)
    try:
        for event in ((0, 1), (2,), (1,), ()):
            for slot in event:
                count[slot] = 0
                for part, stack in zip(parts, stacks, strict=True):
                    stack.flat[slot] = start[slot]
                    part.clear(slot)
                    part.make(slot, spec, slot)
            if not all("foreach" in group for one in parts[0]._optimizers if one for group in one.param_groups):
                return False
            if any(two_modes(one) for one in parts[0]._optimizers if one):
                return False
            for _ in range(STEPS):
                gradient = drawn()
                if event == (2,):
                    gradient[1] = torch.inf
                count += 1
                for part in parts:
                    part.step(Stack(slices, gradient), count, None)
    except UsageError:
        return False  # what it does wrong is told when it trains
    one, other = (stack.flat.nan_to_num(nan=-1.0).cpu() for stack in stacks)
    return torch.equal(one, other)
