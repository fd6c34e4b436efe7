"""Attention of rows to a few keys that each of them looks up: rotation, scores, softmax and mixture in one launch.

A program takes one head of some rows. Nothing that lies between is kept but the logarithms of the softmax's sums; on
the way back it is made again (Dao et al. 2022, arXiv 2205.14135, for T keys instead of blocks of them).

Shapes: E replicas, N rows, T keys a row, M states below, Q queries, H heads of K floats, D = H·K.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 512  # elements of half a head that a program holds of each of some dozen tiles


class Looked(NamedTuple):
    """What rows look up. keys (T, E, N) of rows of all E·M. later (T, …, N, …): keys that a row must not see, or None.

    own (E, N) of rows of all E·M: the state of row n, whose query is number own − e·M − first; None: its number is n.
    below, above: cosines and signed sines (M, 1, K) of the states', and (Q, 1, K) of the queries' positions.
    """

    keys: Tensor
    own: Tensor | None
    first: int
    later: Tensor | None
    below: tuple[Tensor, Tensor]
    above: tuple[Tensor, Tensor]


@triton.jit
def _pair(base, at, half, column, inside):
    """Both halves (rows, half) of heads that begin at these offsets (rows, 1)."""
    low = tl.load(base + at + column, mask=inside, other=0.0)
    return low, tl.load(base + at + half + column, mask=inside, other=0.0)


@triton.jit
def _put(base, at, half, column, inside, low, high):
    tl.store(base + at + column, low, mask=inside)
    tl.store(base + at + half + column, high, mask=inside)


@triton.jit
def _query(q, own, q_cos, q_sin, replica, row, there, n_rows, states, first, queries, head, heads, half, column, inside,
           indexed: tl.constexpr):  # fmt: skip
    """The rotated query of each row, with the cosines and sines it was turned by."""
    number = row.to(tl.int64)
    if indexed:
        number = tl.load(own + replica * n_rows + row, mask=there, other=0) - replica * states - first
    at = ((replica * queries + number) * heads + head)[:, None] * 2 * half
    a, b = _pair(q, at, half, column, inside)
    ca, cb = _pair(q_cos, number[:, None] * 2 * half, half, column, inside)
    sa, sb = _pair(q_sin, number[:, None] * 2 * half, half, column, inside)
    return a * ca + b * sa, b * cb + a * sb, ca, cb, sa, sb


@triton.jit
def _key(both, keys, later, k_cos, k_sin, t, replica, replicas, row, there, n_rows, states, head, heads, half, column,
         inside, qa, qb, scale, masked: tl.constexpr):  # fmt: skip
    """Key t of each row, rotated, its cosines and sines, its value, and the score."""
    number = tl.load(keys + (t * replicas + replica) * n_rows + row, mask=there, other=0) - replica * states
    at = ((replica * states + number) * 2 * heads + head)[:, None] * 2 * half
    a, b = _pair(both, at, half, column, inside)
    ca, cb = _pair(k_cos, number[:, None] * 2 * half, half, column, inside)
    sa, sb = _pair(k_sin, number[:, None] * 2 * half, half, column, inside)
    ka, kb = a * ca + b * sa, b * cb + a * sb
    va, vb = _pair(both, at + heads * 2 * half, half, column, inside)
    score = tl.sum(qa * ka + qb * kb, 1) * scale
    if masked:
        hidden = tl.load(later + t * n_rows + row, mask=there, other=0)
        score = tl.where(hidden != 0, float("-inf"), score)
    return ka, kb, ca, cb, sa, sb, va, vb, score


@triton.jit
def _forward(q, both, keys, own, later, k_cos, k_sin, q_cos, q_sin, out, logs, n_rows, replicas, states, first, queries,
             heads, half, scale, positions: tl.constexpr, indexed: tl.constexpr, masked: tl.constexpr,
             height: tl.constexpr, side: tl.constexpr):  # fmt: skip
    replica, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    row = tl.program_id(2) * height + tl.arange(0, height)
    column = tl.arange(0, side)[None, :]
    there = row < n_rows
    inside = there[:, None] & (column < half)
    qa, qb, _, _, _, _ = _query(q, own, q_cos, q_sin, replica, row, there, n_rows, states, first, queries, head, heads,
                                half, column, inside, indexed)  # fmt: skip
    largest = tl.full((height,), float("-inf"), tl.float32)
    total = tl.zeros((height,), tl.float32)
    low, high = tl.zeros((height, side), tl.float32), tl.zeros((height, side), tl.float32)
    for t in tl.static_range(positions):  # the first key is never hidden
        _, _, _, _, _, _, va, vb, score = _key(both, keys, later, k_cos, k_sin, t, replica, replicas, row, there,
                                               n_rows, states, head, heads, half, column, inside, qa, qb, scale,
                                               masked)  # fmt: skip
        peak = tl.maximum(largest, score)
        shrink, share = tl.exp(largest - peak), tl.exp(score - peak)
        total = total * shrink + share
        low = low * shrink[:, None] + va * share[:, None]
        high = high * shrink[:, None] + vb * share[:, None]
        largest = peak
    at = ((replica * n_rows + row) * heads + head)[:, None] * 2 * half
    _put(out, at, half, column, inside, low / total[:, None], high / total[:, None])
    tl.store(logs + (replica * n_rows + row) * heads + head, largest + tl.log(total), mask=there)


@triton.jit
def _backward(grad, q, both, keys, own, later, k_cos, k_sin, q_cos, q_sin, out, logs, by_q, by_both, n_rows, replicas,
              states, first, queries, heads, half, scale, positions: tl.constexpr, indexed: tl.constexpr,
              masked: tl.constexpr, height: tl.constexpr, side: tl.constexpr):  # fmt: skip
    """by_q (E, N, D), by_both (T, E, N, 2D): what each row adds to the slopes in its query, keys and values."""
    replica, head = tl.program_id(0).to(tl.int64), tl.program_id(1)
    row = tl.program_id(2) * height + tl.arange(0, height)
    column = tl.arange(0, side)[None, :]
    there = row < n_rows
    inside = there[:, None] & (column < half)
    qa, qb, qca, qcb, qsa, qsb = _query(q, own, q_cos, q_sin, replica, row, there, n_rows, states, first, queries, head,
                                        heads, half, column, inside, indexed)  # fmt: skip
    at = ((replica * n_rows + row) * heads + head)[:, None] * 2 * half
    ga, gb = _pair(grad, at, half, column, inside)
    oa, ob = _pair(out, at, half, column, inside)
    mean = tl.sum(ga * oa + gb * ob, 1)
    log = tl.load(logs + (replica * n_rows + row) * heads + head, mask=there, other=0.0)
    low, high = tl.zeros((height, side), tl.float32), tl.zeros((height, side), tl.float32)
    for t in tl.static_range(positions):
        ka, kb, ca, cb, sa, sb, va, vb, score = _key(both, keys, later, k_cos, k_sin, t, replica, replicas, row, there,
                                                     n_rows, states, head, heads, half, column, inside, qa, qb, scale,
                                                     masked)  # fmt: skip
        share = tl.exp(score - log)
        slope = (share * (tl.sum(ga * va + gb * vb, 1) - mean) * scale)[:, None]
        low += slope * ka
        high += slope * kb
        da, db = slope * qa, slope * qb
        to = (((t * replicas + replica) * n_rows + row) * 2 * heads + head)[:, None] * 2 * half
        _put(by_both, to, half, column, inside, da * ca + db * sb, db * cb + da * sa)
        _put(by_both, to + heads * 2 * half, half, column, inside, share[:, None] * ga, share[:, None] * gb)
    _put(by_q, at, half, column, inside, low * qca + high * qsb, high * qcb + low * qsa)


def tile(half: int) -> tuple[int, int]:
    """Rows and columns of the tiles of a program, for heads of two halves of this width."""
    side = triton.next_power_of_2(half)
    return min(32, max(1, TILE // side)), side


def _launch(kernel, tensors, results, q: Tensor, both: Tensor, looked: Looked, heads: int) -> None:
    positions, replicas, rows = looked.keys.shape
    half = q.shape[2] // heads // 2
    height, side = tile(half)
    with torch.cuda.device_of(q):
        kernel[(replicas, heads, triton.cdiv(rows, height))](
            *tensors,
            q,
            both,
            looked.keys.contiguous(),
            q if looked.own is None else looked.own.contiguous(),
            q if looked.later is None else looked.later.contiguous(),
            *looked.below,
            *looked.above,
            *results,
            rows,
            replicas,
            both.shape[1],
            looked.first,
            q.shape[1],
            heads,
            half,
            (2 * half) ** -0.5,
            positions=positions,
            indexed=looked.own is not None,
            masked=looked.later is not None,
            height=height,
            side=side,
            enable_fp_fusion=True,  # the default in Triton 3.9, with a warning
        )


def forward(q: Tensor, both: Tensor, looked: Looked, heads: int) -> tuple[Tensor, Tensor]:
    """q (E, Q, D), both (E, M, 2D): keys and values -> (E, N, D), and the logarithms (E, N, H). float32, contiguous."""
    _, replicas, rows = looked.keys.shape
    out, logs = q.new_empty(replicas, rows, q.shape[2]), q.new_empty(replicas, rows, heads)
    _launch(_forward, (), (out, logs), q, both, looked, heads)
    return out, logs


def backward(
    grad: Tensor, q: Tensor, both: Tensor, out: Tensor, logs: Tensor, looked: Looked, heads: int
) -> tuple[Tensor, Tensor]:
    """From the slopes (E, N, D) in what `forward` gave: (E, N, D) and (T, E, N, 2D), each row's share of the sums."""
    by_q = torch.empty_like(out)
    by_both = out.new_empty(*looked.keys.shape, both.shape[2])
    _launch(_backward, (grad.contiguous(),), (out, logs, by_q, by_both), q, both, looked, heads)
    return by_q, by_both
