"""Newton–Schulz orthogonalisation: the nearest semi-orthogonal matrix, approximately and by products alone."""

from __future__ import annotations

import torch
from torch import Tensor

# Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/: chosen for the steepest slope at zero, so that
# five steps take every singular value of at least 3e-3 of the Frobenius norm into [0.68, 1.21], not to 1.
QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalize(g: Tensor, steps: int = 5, coefficients: tuple[float, float, float] = QUINTIC) -> Tensor:
    """Move every singular value of each matrix g (..., out, in) towards 1, in the dtype of g.

    Each step is X ← aX + (bA + cA²)X with A = XXᵀ, after division by the Frobenius norm. The norm is taken of
    g over its largest entry, and no epsilon is added, so the result does not depend on the scale of g, from
    1e-30 to 1e30 in float32. A zero matrix gives zero. g is left untouched. With 0 steps, g is only normalised.
    """
    a, b, c = coefficients
    largest = g.abs().amax((-2, -1), keepdim=True)
    x = g / torch.where(largest > 0, largest, 1)
    # In two sums, since torch divides a large single sum among its threads: the bits would differ for one matrix.
    norm = x.square().sum(-1, keepdim=True).sum(-2, keepdim=True).sqrt()
    x = x / torch.where(norm > 0, norm, 1)
    tall = g.shape[-2] > g.shape[-1]
    if tall:
        x = x.transpose(-2, -1)  # the Gram matrix below then has the smaller side
    for _ in range(steps):
        gram = x @ x.transpose(-2, -1)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.transpose(-2, -1) if tall else x
