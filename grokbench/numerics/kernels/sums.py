"""Sums of rows by index, in one launch and always in the same order: what a lookup hands back to where it looked.

A sum is a product with a matrix of zeros and ones, so no two threads add to one element. That is more arithmetic than
sorting the indices and fewer launches; so it is for few states.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST = 256  # states of a replica; with more, the product would be a large part of a step


@triton.jit
def _sums(
    rows,
    index,
    out,
    outer,
    inner,
    replicas,
    states,
    first,
    count,
    width,
    tall: tl.constexpr,
    deep: tl.constexpr,
    wide: tl.constexpr,
):
    """Program (replica, block of sums, block of columns): tile (tall, wide) of the sums."""
    replica = tl.program_id(0).to(tl.int64)
    own = tl.program_id(1) * tall + tl.arange(0, tall)
    column = tl.program_id(2) * wide + tl.arange(0, wide)
    tile = tl.zeros((tall, wide), tl.float32)
    for o in range(outer):
        for start in range(0, inner, deep):
            n = start + tl.arange(0, deep)
            row = (o * replicas + replica) * inner + n
            state = tl.load(index + row, mask=n < inner, other=-1) - replica * states - first
            inside = (n[:, None] < inner) & (column[None, :] < width)
            values = tl.load(rows + row[:, None] * width + column[None, :], mask=inside, other=0.0)
            chosen = (own[:, None] == state[None, :]) & (n[None, :] < inner)
            tile = tl.dot(chosen.to(tl.float32), values, tile, input_precision="ieee")
    out += replica * count * width
    tl.store(
        out + own[:, None] * width + column[None, :], tile, mask=(own[:, None] < count) & (column[None, :] < width)
    )


def sums(rows: Tensor, index: Tensor, states: int, first: int = 0, count: int | None = None) -> Tensor:
    """rows (T, E, N, D) or (E, N, D) float32, index of their leading axes in [0, E·states) -> (E, count, D).

    Row n of replica e is added to sum index − e·states − first of that replica. A NaN spreads over its replica alone.
    """
    *leading, width = rows.shape
    replicas, inner = leading[-2:]
    count = states if count is None else count
    out = rows.new_empty(replicas, count, width)
    tall = min(64, max(16, triton.next_power_of_2(count)))
    wide = min(32, max(16, triton.next_power_of_2(width)))
    with torch.cuda.device_of(rows):
        _sums[(replicas, triton.cdiv(count, tall), triton.cdiv(width, wide))](
            rows.contiguous(),
            index.contiguous(),
            out,
            leading[0] if len(leading) == 3 else 1,
            inner,
            replicas,
            states,
            first,
            count,
            width,
            tall=tall,
            deep=32,
            wide=wide,
            num_warps=4,
            num_stages=1,
            enable_fp_fusion=True,  # the default in Triton 3.9, with a warning
        )
    return out
