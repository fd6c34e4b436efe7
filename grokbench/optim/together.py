"""Torch's own optimizers on a GPU: one object steps all replicas, where a trial finds that no bit changes by it.

An optimizer with `foreach` launches a few kernels for all parameters of a group. So replicas with equal settings share
a group, and a step costs what it costs for one replica. Optimizers of others may keep what no trial sees, in hooks,
attributes and counters, so each of their replicas has an object of its own.
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
from grokbench.optim.adapter import PerReplica, foreign
from grokbench.spec import OptimizerSpec, UsageError

TORCHS = "torch.optim:"
STEPS = 3  # of the trial, between its events


def adapter(weights: Stack) -> PerReplica:
    """The part that steps the replicas of plug-ins. On a processor nothing is saved by stepping them together."""
    return Together(weights) if weights.flat.device.type == "cuda" else PerReplica(weights)


class Together(PerReplica):
    """One object for all replicas of an optimizer with equal settings. Each is made alone, and then joins the others.

    trusted: without a trial.
    """

    def __init__(self, weights: Stack, *, trusted: bool = False) -> None:
        super().__init__(weights)
        self._trusted = trusted
        self._joins = [False] * len(weights.flat)
        self._state: dict[Tensor, Any] = defaultdict(dict)
        self._joint: dict[OptimizerSpec, torch.optim.Optimizer] = {}

    def make(self, slot: int, spec: OptimizerSpec, key: int) -> None:
        """Make the optimizer of the run with this key; it joins the others in the next step, if it may."""
        self.clear(slot)
        super().make(slot, spec, key)
        flat = self._weights.flat
        self._joins[slot] = self._trusted or _alike(spec, tuple(self._weights.slices), flat.dtype, flat.device)

    def clear(self, slot: int) -> None:
        for parameter in self._parameters[slot].values():
            self._state.pop(parameter, None)
        super().clear(slot)
        self._joins[slot] = False
        self._joint = {}

    def select(self, slots: Sequence[int], weights: Stack) -> None:
        for gone in set(range(len(self._specs))) - set(slots):
            self.clear(gone)
        super().select(slots, weights)
        self._joins = [self._joins[slot] for slot in slots]
        self._joint = {}

    def step(self, gradients: Stack, count: Tensor, warmth: Tensor | None) -> None:
        together: dict[OptimizerSpec, list[int]] = {}
        for slot in self._given(gradients):
            spec = self._specs[slot]
            assert spec
            if self._joins[slot]:
                together.setdefault(spec, []).append(slot)
            else:
                self._step(slot, count, warmth)
        for spec, slots in together.items():
            if spec not in self._joint:
                self._joint[spec] = self._joined(spec)
            with foreign(spec, self._keys[slots[0]], int(count[slots[0]]), self._weights.flat.device):
                self._joint[spec].step()
            for slot in slots:
                self._check(slot, spec)

    def _joined(self, spec: OptimizerSpec) -> torch.optim.Optimizer:
        """An optimizer over the groups of all replicas that join with these settings."""
        own = [
            optimizer
            for optimizer, given, joins in zip(self._optimizers, self._specs, self._joins, strict=True)
            if optimizer and joins and given == spec
        ]
        joint = copy.copy(own[0])
        groups = [dict(group) for group in own[0].param_groups]
        for number, group in enumerate(groups):
            group["params"] = [p for optimizer in own for p in optimizer.param_groups[number]["params"]]
        joint.param_groups, joint.state = groups, self._state  # type: ignore[assignment]
        return joint


@functools.lru_cache(maxsize=64)
def _alike(spec: OptimizerSpec, slices: tuple[Slice, ...], dtype: torch.dtype, device: torch.device) -> bool:
    """Whether both kinds of part give the same bits while replicas come, diverge, go and come again."""
    if spec.warmup or not spec.name.startswith(TORCHS):  # a warm-up sets each one's rate
        return False
    generator = torch.Generator().manual_seed(0)

    def drawn() -> Tensor:
        return torch.randn(3, row_size(slices), generator=generator, dtype=torch.float64).to(dtype).to(device)

    start = drawn()
    stacks = [Stack(slices, start.clone()) for _ in range(2)]
    parts = PerReplica(stacks[0]), Together(stacks[1], trusted=True)
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
