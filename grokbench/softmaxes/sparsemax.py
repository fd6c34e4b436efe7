"""Sparsemax and its loss, after Martins and Astudillo 2016 (arXiv 1602.02068)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from grokbench.numerics.kernels.choice import wanted


def sparsemax(z: Tensor) -> Tensor:
    """The Euclidean projection of z on the simplex: max(z − τ, 0) with τ such that the sum is 1."""
    z = z - z.amax(-1, keepdim=True).detach()  # the projection is shift-invariant; large scores lose no digits
    # To see whether all rows are done, a GPU would have to stop, and a compiled step to leave its graph.
    tau = _tau_by_sorting(z) if z.is_cuda or torch.compiler.is_compiling() else _tau_by_shrinking(z)
    return (z - tau).clamp(min=0)


def _tau_by_sorting(z: Tensor) -> Tensor:
    """(..., 1) τ of scores whose largest is 0."""
    ordered = z.sort(-1, descending=True).values
    excess = ordered.cumsum(-1) - 1
    rank = torch.arange(1, z.shape[-1] + 1, device=z.device, dtype=z.dtype)
    # (..., 1) sizes; never 0 by arithmetic, but NaN compares as False and must not fail the other rows
    support = (rank * ordered > excess).sum(-1, keepdim=True).clamp(min=1)
    return excess.gather(-1, support - 1) / support


def _tau_by_shrinking(z: Tensor) -> Tensor:
    """The same in half the time on a processor (Michelot 1986).

    A set that contains the support, here at first the scores above −1, gives a τ; what of it is above that is a
    smaller such set, and so on. As sets only shrink, that ends, whatever is rounded and for NaN too. A row that is
    done gets the same τ again while others go on.
    """
    inside = z > -1
    size = inside.sum(-1, keepdim=True)
    while True:
        tau = (torch.where(inside, z, 0).sum(-1, keepdim=True) - 1) / size.clamp(min=1)
        inside = inside & (z > tau)
        shrunk = inside.sum(-1, keepdim=True)
        if torch.equal(shrunk, size):
            return tau
        size = shrunk


class _SparsemaxLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, labels: Tensor) -> Tensor:
        p = sparsemax(z)
        shifted = z - z.gather(-1, labels[..., None])  # makes ⟨p − e_y, z⟩ a sum of p-weighted gaps to the label
        loss = 0.5 * (1 - p.square().sum(-1)) + (p * shifted).sum(-1)
        slope = p.scatter_add(-1, labels[..., None], -torch.ones_like(p[..., :1]))
        ctx.save_for_backward(slope)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (slope,) = ctx.saved_tensors
        return grad[..., None] * slope, None


def sparsemax_loss(z: Tensor, labels: Tensor) -> Tensor:
    """The Fenchel–Young loss ½(1 − ‖p‖²) + ⟨p − e_y, z⟩ with p = sparsemax(z); its gradient is p − e_y.

    −log p would be infinite off the support.
    """
    if wanted(z):
        from grokbench.numerics.kernels import losses

        if losses.fits(z):
            return losses.sparsemax_loss(z, labels)
    loss: Tensor = _SparsemaxLoss.apply(z, labels)
    return loss
