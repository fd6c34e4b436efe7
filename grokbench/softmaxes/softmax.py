"""Softmax and its loss."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from grokbench.numerics.kernels.choice import wanted


def softmax(z: Tensor) -> Tensor:
    """exp(z_i) / Σ exp(z_j)."""
    return z.softmax(-1)


def softmax_loss(z: Tensor, labels: Tensor) -> Tensor:
    """−log softmax(z)_y."""
    if wanted(z):
        from grokbench.numerics.kernels import losses

        if losses.fits(z):
            return losses.softmax_loss(z, labels)
    return cross_entropy(z, labels)


def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    losses = F.cross_entropy(scores.reshape(-1, scores.shape[-1]), labels.flatten(), reduction="none")
    return losses.view(labels.shape)
