"""Softmax, stablemax and sparsemax: probabilities, and for each the loss that belongs to it.

Probabilities take scores z (..., C) to the simplex (..., C). Losses take scores (..., C) and labels (...) to one
loss a row (...). Stablemax follows Prieto et al. 2025 (arXiv 2501.04697); sparsemax and its loss follow Martins
and Astudillo 2016 (arXiv 1602.02068).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from grokbench import kernels


def softmax(z: Tensor) -> Tensor:
    """exp(z_i) / Σ exp(z_j)."""
    return z.softmax(-1)


def softmax_loss(z: Tensor, labels: Tensor) -> Tensor:
    """−log softmax(z)_y."""
    return _cross_entropy(z, labels)


class _LogS(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        size = z.abs() + 1
        ctx.save_for_backward(size)
        return torch.copysign(size.log(), z)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (size,) = ctx.saved_tensors
        slope: Tensor = grad / size
        return slope


def _log_s(z: Tensor) -> Tensor:
    """log s(z) = sign(z)·log(1 + |z|), with slope 1/(1 + |z|) everywhere, at z = 0 and z = 1 too.

    log1p would keep more digits of a small z, but takes ten times as long, and they vanish beside log C.
    """
    out: Tensor = _LogS.apply(z)
    return out


def stablemax(z: Tensor) -> Tensor:
    """s(z_i) / Σ s(z_j) with s(z) = z + 1 for z ≥ 0 and 1/(1 − z) below. Not invariant to shifts."""
    return _log_s(z).softmax(-1)


def stablemax_loss(z: Tensor, labels: Tensor) -> Tensor:
    """−log stablemax(z)_y, in logarithms throughout."""
    if kernels.wanted(z):
        from grokbench.kernels import losses

        if losses.fits(z):
            return losses.stablemax_loss(z, labels)
    return _cross_entropy(_log_s(z), labels)


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
    if kernels.wanted(z):
        from grokbench.kernels import losses

        if losses.fits(z):
            return losses.sparsemax_loss(z, labels)
    loss: Tensor = _SparsemaxLoss.apply(z, labels)
    return loss


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    losses = F.cross_entropy(scores.reshape(-1, scores.shape[-1]), labels.flatten(), reduction="none")
    return losses.view(labels.shape)


class Softmax(NamedTuple):
    probabilities: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]


SOFTMAX: dict[str, Softmax] = {
    "softmax": Softmax(softmax, softmax_loss),
    "stablemax": Softmax(stablemax, stablemax_loss),
    "sparsemax": Softmax(sparsemax, sparsemax_loss),
}
