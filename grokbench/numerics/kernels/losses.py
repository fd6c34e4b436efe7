"""The losses of softmax, stablemax and sparsemax and their slopes, each in one launch forward and one product backward.

Definitions and sources as in `grokbench.softmaxes`, float32 only. A program takes a few rows (rows, C) as one tile,
padded with scores of −∞.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

LARGEST = 4096  # classes
TILE = 256  # scores a warp takes, 8 a thread


@triton.jit
def _read(z, labels, rows, classes, height: tl.constexpr, width: tl.constexpr):
    """Of this program: row numbers (height,), columns (1, width), scores and one-hot labels (height, width)."""
    row = tl.program_id(0).to(tl.int64) * height + tl.arange(0, height)
    column = tl.arange(0, width)[None, :]
    there = row < rows
    scores = tl.load(z + row[:, None] * classes + column, mask=there[:, None] & (column < classes), other=0.0)
    label = tl.load(labels + row, mask=there, other=0)
    return row, column, scores, column == label[:, None]


@triton.jit
def _write(losses, slopes, loss, slope, row, column, rows, classes):
    there = row < rows
    tl.store(losses + row, loss, mask=there)
    tl.store(slopes + row[:, None] * classes + column, slope, mask=there[:, None] & (column < classes))


@triton.jit
def _softmax(z, labels, losses, slopes, rows, classes, height: tl.constexpr, width: tl.constexpr):
    row, column, scores, chosen = _read(z, labels, rows, classes, height, width)
    shifted = tl.where(column < classes, scores, float("-inf"))
    shifted -= tl.max(shifted, 1)[:, None]
    share = tl.exp(shifted)
    total = tl.sum(share, 1)
    loss = tl.log(total) - tl.sum(tl.where(chosen, shifted, 0.0), 1)
    slope = share / total[:, None] - chosen.to(tl.float32)
    _write(losses, slopes, loss, slope, row, column, rows, classes)


@triton.jit
def _stablemax(z, labels, losses, slopes, rows, classes, height: tl.constexpr, width: tl.constexpr):
    row, column, scores, chosen = _read(z, labels, rows, classes, height, width)
    size = 1 + tl.abs(scores)
    # log s; where log1p would keep more digits, |z| is so small that they vanish beside log C
    log_s = tl.where(scores >= 0, tl.log(size), -tl.log(size))
    log_s = tl.where(column < classes, log_s, float("-inf"))
    largest = tl.max(log_s, 1)
    share = tl.exp(log_s - largest[:, None])
    total = tl.sum(share, 1)
    loss = tl.log(total) + (largest - tl.sum(tl.where(chosen, log_s, 0.0), 1))
    slope = (share / total[:, None] - chosen.to(tl.float32)) / size
    _write(losses, slopes, loss, slope, row, column, rows, classes)


@triton.jit
def _sparsemax(z, labels, losses, slopes, rows, classes, height: tl.constexpr, width: tl.constexpr):
    """The threshold τ is found without a sort (Michelot 1986).

    From a set that contains the support, τ is as if the set were the support, what is not above τ leaves the set, and
    so on until nothing leaves. As sets only shrink, that ends, for NaN too.
    """
    row, column, scores, chosen = _read(z, labels, rows, classes, height, width)
    inside = column < classes
    shifted = tl.where(inside, scores, float("-inf"))
    shifted -= tl.max(shifted, 1)[:, None]
    active = shifted > -1  # the largest is 0, and p ≤ 1
    count = tl.sum(active.to(tl.int32), 1)
    tau = tl.zeros((height,), tl.float32)
    leaving = 1
    while leaving > 0:
        total = tl.sum(tl.where(active, shifted, 0.0), 1)
        tau = tl.div_rn(total - 1, tl.maximum(count, 1).to(tl.float32))
        active &= shifted > tau[:, None]
        left = tl.sum(active.to(tl.int32), 1)
        leaving = tl.sum(count - left)
        count = left
    # NaN compares as False: it took no part above, and here becomes that of the whole row
    tau += tl.sum(tl.where(shifted == shifted, 0.0, shifted), 1)
    p = tl.where(shifted <= tau[:, None], 0.0, shifted - tau[:, None])
    gap = tl.where(inside, scores - tl.sum(tl.where(chosen, scores, 0.0), 1)[:, None], 0.0)
    loss = 0.5 * (1 - tl.sum(p * p, 1)) + tl.sum(p * gap, 1)
    _write(losses, slopes, loss, p - chosen.to(tl.float32), row, column, rows, classes)


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, labels: Tensor, kernel: Any) -> Tensor:
        classes = z.shape[-1]
        scores = z.reshape(-1, classes).contiguous()
        losses, slopes = scores.new_empty(len(scores)), torch.empty_like(scores)
        width = max(16, triton.next_power_of_2(classes))
        height = max(1, TILE // width)
        with torch.cuda.device_of(z):
            kernel[(triton.cdiv(len(scores), height),)](
                scores,
                labels.reshape(-1).contiguous(),
                losses,
                slopes,
                len(scores),
                classes,
                height=height,
                width=width,
                num_warps=min(8, height * width // TILE),
                enable_fp_fusion=True,  # the default in Triton 3.9, with a warning
            )
        ctx.save_for_backward(slopes.view(z.shape))
        return losses.view(labels.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return grad[..., None] * slopes, None, None


def fits(z: Tensor) -> bool:
    """Whether the losses here take these scores: float32 on a GPU (anywhere in Triton's interpreter), not too wide."""
    reachable = z.is_cuda or not isinstance(_sparsemax, triton.JITFunction)
    return reachable and z.dtype == torch.float32 and 0 < z.shape[-1] <= LARGEST


def softmax_loss(z: Tensor, labels: Tensor) -> Tensor:
    """−log softmax(z)_y of scores (..., C) that `fits` and labels (...) in [0, C), one loss a row (...)."""
    loss: Tensor = _Loss.apply(z, labels, _softmax)
    return loss


def stablemax_loss(z: Tensor, labels: Tensor) -> Tensor:
    """−log stablemax(z)_y of scores (..., C) that `fits` and labels (...) in [0, C), one loss a row (...)."""
    loss: Tensor = _Loss.apply(z, labels, _stablemax)
    return loss


def sparsemax_loss(z: Tensor, labels: Tensor) -> Tensor:
    """The Fenchel–Young loss of sparsemax, of scores (..., C) that `fits` and labels (...) in [0, C), a row's (...)."""
    loss: Tensor = _Loss.apply(z, labels, _sparsemax)
    return loss
