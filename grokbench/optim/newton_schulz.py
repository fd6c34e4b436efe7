"""Newton–Schulz orthogonalisation: the nearest semi-orthogonal matrix, approximately and by products alone."""

from __future__ import annotations

import torch
from torch import Tensor

from grokbench.numerics.kernels.choice import wanted

# Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/: chosen for the steepest slope at zero, so that
# five steps take every singular value of at least 3e-3 of the Frobenius norm into [0.68, 1.21], not to 1.
QUINTIC = (3.4445, -4.7750, 2.0315)

# With A = XXᵀ of side m, a step in the Gram form is four products of side m, and saves the pairs of products with
# the other side n: cheaper where n > 1.5 m.
GRAM_RATIO = 1.5
# Steps between returns to X. Rounding in A is lifted along with the small singular values: with float32 and five
# steps in one go it is 8e-4 of the result, with a return after three it is 1e-5, as without the Gram form.
GRAM_STEPS = 3


def orthogonalize(g: Tensor, steps: int = 5, coefficients: tuple[float, float, float] = QUINTIC) -> Tensor:
    """Move every singular value of each matrix g (..., out, in) towards 1, in the dtype of g.

    Each step is X ← (aI + bA + cA²)X with A = XXᵀ, after division by the Frobenius norm. The norm is taken of
    g over its largest entry, and no epsilon is added, so the result does not depend on the scale of g, from
    1e-30 to 1e30 in float32. A zero matrix gives zero. g is left untouched. With 0 steps, g is only normalised.
    """
    if wanted(g):
        from grokbench.numerics.kernels import newton_schulz as fused

        if fused.fits(g):
            return fused.orthogonalize(g, steps, coefficients)
    *batch, out, into = g.shape
    x = (g.mT if out > into else g).reshape(-1, min(out, into), max(out, into))  # its Gram matrix is the smaller one
    largest = torch.linalg.vector_norm(x, torch.inf, (-2, -1), keepdim=True)
    x = x / torch.where(largest > 0, largest, 1)
    gram = torch.bmm(x, x.mT)
    norm = gram.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None].sqrt()  # ‖X‖² is the trace of XXᵀ
    norm = torch.where(norm > 0, norm, 1)
    x, gram = x / norm, gram / norm.square()
    stride = GRAM_STEPS if x.shape[2] > GRAM_RATIO * x.shape[1] else 1
    for done in range(0, steps, stride):
        gram = torch.bmm(x, x.mT) if done else gram
        x = torch.bmm(_factors(gram, min(stride, steps - done), coefficients), x)
    x = x.mT if out > into else x
    return x.reshape(*batch, out, into)


def _factor(gram: Tensor, coefficients: tuple[float, float, float]) -> Tensor:
    """aI + bA + cA²."""
    a, b, c = coefficients
    factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    factor.diagonal(dim1=-2, dim2=-1).add_(a)
    return factor


def _factors(gram: Tensor, steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    """The product of the factors F of several steps, from A alone: X ← FX means A ← FAF, and all of these commute."""
    product = factor = _factor(gram, coefficients)
    for _ in range(steps - 1):
        gram = torch.bmm(factor, torch.bmm(gram, factor))
        factor = _factor(gram, coefficients)
        product = torch.bmm(factor, product)
    return product
