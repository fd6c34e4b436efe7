"""Stablemax and its loss, after Prieto et al. 2025 (arXiv 2501.04697)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from grokbench.numerics.kernels.choice import wanted
from grokbench.softmaxes.softmax import cross_entropy


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
    if wanted(z):
        from grokbench.numerics.kernels import losses

        if losses.fits(z):
            return losses.stablemax_loss(z, labels)
    return cross_entropy(_log_s(z), labels)
