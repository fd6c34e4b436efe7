"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) for the hidden matrices of replicas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from grokbench.optim.newton_schulz import orthogonalize
from grokbench.transformer import Slice, Stack

STATE = ("momentum",)

# The factor of an update by the shape (out, in) of its matrix; the first two as in `torch.optim.Muon`.
SCALE: dict[str, Callable[[int, int], float]] = {
    "original": lambda out, into: math.sqrt(max(1, out / into)),
    "match_rms_adamw": lambda out, into: 0.2 * math.sqrt(max(out, into)),  # Liu et al. 2025, arXiv 2502.16982
    "spectral": lambda out, into: math.sqrt(out / into),  # Bernstein and Newhouse 2024, arXiv 2409.20325
    "none": lambda out, into: 1.0,
}


def update(
    weights: Stack,
    gradients: Stack,
    state: dict[str, Tensor],
    hyper: Mapping[str, Any],
    step: Tensor,
    lr: Tensor,
    weight_decay: Tensor,
) -> None:
    """One step in place, every matrix on its own. Momentum is an average, as in `torch.optim.Muon`.

    Without `orthogonalize` the update is the momentum itself times the scale. Shapes as in `adamw`.
    """
    w, g = weights.flat, gradients.flat
    momentum = state["momentum"].lerp_(g, 1 - hyper["momentum"])
    direction = g.lerp(momentum, hyper["momentum"]) if hyper["nesterov"] else momentum.clone()
    _shape(Stack(weights.slices, direction), hyper)
    w.mul_(1 - lr * weight_decay)
    w.addcmul_(direction, lr, value=-1)


def _shape(directions: Stack, hyper: Mapping[str, Any]) -> None:
    """Orthogonalise and scale every matrix in place; those of one shape go through one product."""

    def shape(s: Slice) -> tuple[int, ...]:
        return s.shape

    for (out, into), alike in groupby(sorted(directions.slices, key=shape), key=shape):
        views = [directions.views[s.name] for s in alike]
        matrices = torch.stack(views, 1)  # (E, M, out, in)
        if hyper["orthogonalize"]:
            flat = orthogonalize(matrices.flatten(0, 1), hyper["ns_steps"], hyper["coefficients"])
            matrices = flat.view_as(matrices)
        matrices = matrices * SCALE[hyper["scale"]](out, into)
        for view, matrix in zip(views, matrices.unbind(1), strict=True):
            view.copy_(matrix)
