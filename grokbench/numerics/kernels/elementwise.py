"""SiLU with its gate, and AdamW: passes over many elements, each of them one launch."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 1024  # elements a program


@triton.jit
def _silu(z, raised, out, count, gated: tl.constexpr, tile: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    x = tl.load(z + at, mask=at < count, other=0.0)
    y = x / (1 + tl.exp(-x))
    if gated:
        y *= tl.load(raised + at, mask=at < count, other=0.0)
    tl.store(out + at, y, mask=at < count)


@triton.jit
def _silu_back(grad, z, raised, by_z, by_raised, count, gated: tl.constexpr, tile: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * tile + tl.arange(0, tile)
    g = tl.load(grad + at, mask=at < count, other=0.0)
    x = tl.load(z + at, mask=at < count, other=0.0)
    share = 1 / (1 + tl.exp(-x))
    slope = share * (1 + x * (1 - share))
    if gated:
        tl.store(by_raised + at, g * x * share, mask=at < count)
        g *= tl.load(raised + at, mask=at < count, other=0.0)
    tl.store(by_z + at, g * slope, mask=at < count)


def silu(z: Tensor, raised: Tensor | None) -> Tensor:
    """SiLU of z, times `raised` if it is there; all float32 and contiguous, of one shape."""
    out = torch.empty_like(z)
    with torch.cuda.device_of(z):
        _silu[(triton.cdiv(z.numel(), TILE),)](
            z,
            z if raised is None else raised,
            out,
            z.numel(),
            gated=raised is not None,
            tile=TILE,
            enable_fp_fusion=True,  # the default in Triton 3.9, with a warning
        )
    return out


def silu_back(grad: Tensor, z: Tensor, raised: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The slopes in z and in `raised`."""
    by_z, by_raised = torch.empty_like(z), None if raised is None else torch.empty_like(z)
    with torch.cuda.device_of(z):
        _silu_back[(triton.cdiv(z.numel(), TILE),)](
            grad.contiguous(),
            z,
            z if raised is None else raised,
            by_z,
            by_z if by_raised is None else by_raised,
            z.numel(),
            gated=raised is not None,
            tile=TILE,
            enable_fp_fusion=True,
        )
    return by_z, by_raised


@triton.jit
def _adamw(w, w_stride, g, g_stride, mean, square, steps, rates, decays, count, b2, share1, share2, log1, log2, epsilon,
           tile: tl.constexpr):  # fmt: skip
    """Program (replica, tile). log1 and log2 are of the betas, whose powers are made in float64."""
    replica = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * tile + tl.arange(0, tile)
    inside = column < count
    step = tl.load(steps + replica)
    rate, decay = tl.load(rates + replica), tl.load(decays + replica)
    root = tl.sqrt(1 - tl.exp(step * log2))
    weight = tl.load(w + replica * w_stride + column, mask=inside, other=0.0)
    slope = tl.load(g + replica * g_stride + column, mask=inside, other=0.0)
    at = replica * count + column
    m = tl.load(mean + at, mask=inside, other=0.0)
    m += share1 * (slope - m)
    v = tl.load(square + at, mask=inside, other=0.0) * b2 + share2 * slope * slope
    scaled = (rate.to(tl.float64) * root / (1 - tl.exp(step * log1))).to(tl.float32)
    change = m / (tl.sqrt_rn(v) + (root * epsilon).to(tl.float32))
    tl.store(mean + at, m, mask=inside)
    tl.store(square + at, v, mask=inside)
    tl.store(w + replica * w_stride + column, weight * (1 - rate * decay) - scaled * change, mask=inside)


def fits(w: Tensor, g: Tensor) -> bool:
    """Whether `adamw` takes weights and gradients (E, P): float32, rows in one piece, on a GPU (or interpreted)."""
    reachable = w.is_cuda or not isinstance(_adamw, triton.JITFunction)
    return reachable and w.dtype == g.dtype == torch.float32 and w.stride(1) == g.stride(1) == 1


def adamw(
    w: Tensor, g: Tensor, state: dict[str, Tensor], hyper: Any, step: Tensor, lr: Tensor, weight_decay: Tensor
) -> None:
    """What `grokbench.optim.adamw.update` does, for weights and gradients that `fits`; shapes as there."""
    beta1, beta2 = hyper["betas"]
    with torch.cuda.device_of(w):
        _adamw[(w.shape[0], triton.cdiv(w.shape[1], TILE))](
            w,
            w.stride(0),
            g,
            g.stride(0),
            state["mean"],
            state["square"],
            step.contiguous(),
            lr.contiguous(),
            weight_decay.contiguous(),
            w.shape[1],
            beta2,
            1 - beta1,
            1 - beta2,
            math.log(beta1) if beta1 else -math.inf,
            math.log(beta2) if beta2 else -math.inf,
            hyper["eps"],
            tile=TILE,
            enable_fp_fusion=True,
        )
