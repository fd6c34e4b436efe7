"""Muon (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) for the hidden matrices of replicas."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from grokbench.models.transformer import Slice, Stack
from grokbench.optim.newton_schulz import orthogonalize
from grokbench.spec import ALIGNMENT

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
    """Orthogonalise and scale every matrix in place; those of one shape or its transpose go through one product."""

    def sides(s: Slice) -> list[int]:
        return sorted(s.shape)

    for _, group in groupby(sorted(directions.slices, key=sides), key=sides):
        alike = list(group)
        lying = [_lying(directions.views[s.name], s) for s in alike]
        if hyper["orthogonalize"]:
            matrices = torch.stack(lying, 1)  # (E, M, small, large)
            small, large = matrices.shape[2:]
            if large % ALIGNMENT or small % ALIGNMENT:
                # Zero rows and columns change nothing, and let every matrix begin on a cache line.
                matrices = functional.pad(matrices, (0, -large % ALIGNMENT, 0, -small % ALIGNMENT))
            shaped = orthogonalize(matrices, hyper["ns_steps"], hyper["coefficients"])[..., :small, :large].unbind(1)
        else:
            shaped = tuple(lying)
        for s, matrix in zip(alike, shaped, strict=True):
            torch.mul(_lying(matrix, s), SCALE[hyper["scale"]](*s.shape), out=directions.views[s.name])


def _lying(matrix: Tensor, s: Slice) -> Tensor:
    """The matrix or, for a tall one, its transpose; twice is the identity."""
    return matrix.mT if s.shape[0] > s.shape[1] else matrix
