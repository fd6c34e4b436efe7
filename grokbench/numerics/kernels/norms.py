"""Lookup, residual sum and root-mean-square norm in one launch; back in one, and one for the slope of the gain."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 1024  # elements a program


@triton.jit
def _place(n_rows, width, height: tl.constexpr, side: tl.constexpr):
    """Of this program: replica, rows (height,), columns (1, side), offsets in (E, N, D) and what is inside of it."""
    replica = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * height + tl.arange(0, height)
    column = tl.arange(0, side)[None, :]
    at = (replica * n_rows + row)[:, None] * width + column
    return replica, row, column, at, (row[:, None] < n_rows) & (column < width)


@triton.jit
def _forward(
    x,
    x_stride,
    index,
    branch,
    gain,
    gain_stride,
    total,
    out,
    rates,
    n_rows,
    states,
    width,
    epsilon,
    looked_up: tl.constexpr,
    added: tl.constexpr,
    height: tl.constexpr,
    side: tl.constexpr,
):
    replica, row, column, at, inside = _place(n_rows, width, height, side)
    state = row.to(tl.int64)
    if looked_up:
        state = tl.load(index + replica * n_rows + row, mask=row < n_rows, other=0) - replica * states
    value = tl.load(x + replica * x_stride + state[:, None] * width + column, mask=inside, other=0.0)
    if added:
        value += tl.load(branch + at, mask=inside, other=0.0)
    rate = 1 / tl.sqrt_rn(tl.sum(value * value, 1) / width + epsilon)
    scale = tl.load(gain + replica * gain_stride + column, mask=column < width, other=0.0)
    tl.store(total + at, value, mask=inside)
    tl.store(out + at, value * rate[:, None] * scale, mask=inside)
    tl.store(rates + replica * n_rows + row, rate, mask=row < n_rows)


@triton.jit
def _backward(
    grad,
    passed,
    total,
    rates,
    gain,
    gain_stride,
    slope,
    partial,
    n_rows,
    width,
    passing: tl.constexpr,
    height: tl.constexpr,
    side: tl.constexpr,
):
    """slope: in the residual sum. partial (E, blocks, D): what the rows of a block add to the slope in the gain."""
    replica, row, column, at, inside = _place(n_rows, width, height, side)
    rate = tl.load(rates + replica * n_rows + row, mask=row < n_rows, other=0.0)[:, None]
    unit = tl.load(total + at, mask=inside, other=0.0) * rate
    given = tl.load(grad + at, mask=inside, other=0.0)
    scaled = given * tl.load(gain + replica * gain_stride + column, mask=column < width, other=0.0)
    radial = tl.sum(scaled * unit, 1)[:, None] / width
    found = (scaled - unit * radial) * rate
    if passing:
        found += tl.load(passed + at, mask=inside, other=0.0)
    tl.store(slope + at, found, mask=inside)
    sums = tl.sum(given * unit, 0)
    block = replica * tl.num_programs(1) + tl.program_id(1)
    across = tl.arange(0, side)
    tl.store(partial + block * width + across, sums, mask=across < width)


def _tile(width: int) -> tuple[int, int]:
    side = triton.next_power_of_2(width)
    return max(1, TILE // side), side


def forward(
    x: Tensor, index: Tensor | None, branch: Tensor | None, gain: Tensor, epsilon: float
) -> tuple[Tensor, Tensor, Tensor]:
    """total = x[index] + branch, total over its root mean square times gain, and the rates (E, N).

    x (E, M, D); index (E, N) of rows of all E·M, or all M in their order; branch (E, N, D); gain (E, D). float32.
    """
    x = x if x[0].is_contiguous() else x.contiguous()
    replicas, states, width = x.shape
    rows = states if index is None else index.shape[1]
    total, out = x.new_empty(replicas, rows, width), x.new_empty(replicas, rows, width)
    rates = x.new_empty(replicas, rows)
    height, side = _tile(width)
    with torch.cuda.device_of(x):
        _forward[(replicas, triton.cdiv(rows, height))](
            x,
            x.stride(0),
            x if index is None else index.contiguous(),
            x if branch is None else branch.contiguous(),
            gain,
            gain.stride(0),
            total,
            out,
            rates,
            rows,
            states,
            width,
            epsilon,
            looked_up=index is not None,
            added=branch is not None,
            height=height,
            side=side,
            enable_fp_fusion=True,  # the default in Triton 3.9, with a warning
        )
    return total, out, rates


def backward(grad: Tensor, passed: Tensor | None, total: Tensor, rates: Tensor, gain: Tensor) -> tuple[Tensor, Tensor]:
    """The slopes in `total` (E, N, D) and in the gain (E, D), from those in the normed states and in `total` itself."""
    replicas, rows, width = total.shape
    height, side = _tile(width)
    blocks = triton.cdiv(rows, height)
    slope, partial = torch.empty_like(total), total.new_empty(replicas, blocks, width)
    with torch.cuda.device_of(total):
        _backward[(replicas, blocks)](
            grad.contiguous(),
            grad if passed is None else passed.contiguous(),
            total,
            rates,
            gain,
            gain.stride(0),
            slope,
            partial,
            rows,
            width,
            passing=passed is not None,
            height=height,
            side=side,
            enable_fp_fusion=True,
        )
    return slope, partial.sum(1)
