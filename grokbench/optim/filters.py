"""Gradient filters: what is done to the gradient of every replica before an optimizer sees it.

Shapes: E replicas, P parameters of a replica.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from grokbench.models.transformer import Stack
from grokbench.spec.registry import split


class Grokfast:
    """Adds λ times an exponential moving average of past gradients, which begins as the first one.

    Lee et al. 2024 (arXiv 2405.20233), "Grokfast-EMA".
    """

    def __init__(self, weights: Stack, alpha: float, lamb: float) -> None:
        self._alpha, self._lamb = alpha, lamb
        self._mean = torch.zeros_like(weights.flat)

    def apply(self, weights: Stack, gradients: Stack, count: Tensor) -> Tensor:
        """(E, P) the filtered gradients. count (E, 1): the step, from 1."""
        # Not by a weight of 1: what an earlier run left in the slot may be NaN.
        mean = torch.where(count == 1, gradients.flat, self._mean.lerp(gradients.flat, 1 - self._alpha))
        self._mean.copy_(mean)  # in place, for a recorded graph
        return gradients.flat.add(self._mean, alpha=self._lamb)

    def select(self, slots: Sequence[int]) -> None:
        self._mean = self._mean[slots]


class OrthoGrad:
    """Takes from the gradient of each parameter its part along the weights, and restores its norm.

    Prieto et al. 2025 (arXiv 2501.04697), ⊥Grad: scaling up the weights is how softmax loses its gradient.
    """

    def __init__(self, weights: Stack) -> None:
        pass

    def apply(self, weights: Stack, gradients: Stack, count: Tensor) -> Tensor:
        filtered = Stack(gradients.slices, gradients.flat.clone())
        for s in gradients.slices:
            w, g = weights.views[s.name], filtered.views[s.name]
            before, along, size = _sum(g * g), _sum(w * g), _sum(w * w)
            g.addcmul_(w, along / torch.where(size > 0, size, 1), value=-1)
            after = _sum(g * g)
            g.mul_((before / torch.where(after > 0, after, 1)).sqrt())
        return filtered.flat

    def select(self, slots: Sequence[int]) -> None:
        pass


def _sum(x: Tensor) -> Tensor:
    """Sums over all but the first dimension, which stay; row by row, so that they do not depend on the company."""
    for d in range(x.ndim - 1, 0, -1):
        x = x.sum(d, keepdim=True)
    return x


Filter = Grokfast | OrthoGrad
_FILTERS: dict[str, Any] = {"grokfast": Grokfast, "orthograd": OrthoGrad}


def build(text: str, weights: Stack) -> Filter:
    """The filter that an `OptimizerSpec` names, for these weights."""
    name, settings = split(text)
    made: Filter = _FILTERS[name](weights, **settings)
    return made
