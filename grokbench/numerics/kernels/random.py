"""Philox4x32-10 in one launch: the words of `grokbench.numerics.rng`, and dropout's masks without words in between."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-calls, allow-untyped-decorators
# mypy: disable-error-code="import-not-found, import-untyped"

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 256  # counters a program


@triton.jit
def _drawn(keys, at, stream, ordinal, tile: tl.constexpr):
    """Of this program: its replica, its counters (tile,) and their four words, as unsigned 32-bit integers."""
    replica = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1) * tile + tl.arange(0, tile)
    key = tl.load(keys + replica).to(tl.uint64)
    epoch = tl.load(at + replica).to(tl.uint32)
    zero = tl.zeros((tile,), tl.uint32)
    counter = block.to(tl.uint32)
    w0, w1, w2, w3 = tl.philox(key, counter, zero + epoch, zero + stream, zero + ordinal)
    return replica, block, w0, w1, w2, w3


@triton.jit
def _words(keys, at, out, stream, ordinal, count, tile: tl.constexpr):
    replica, block, w0, w1, w2, w3 = _drawn(keys, at, stream, ordinal, tile)
    out += replica * count
    tl.store(out + 4 * block, w0.to(tl.int64), mask=4 * block < count)
    tl.store(out + 4 * block + 1, w1.to(tl.int64), mask=4 * block + 1 < count)
    tl.store(out + 4 * block + 2, w2.to(tl.int64), mask=4 * block + 2 < count)
    tl.store(out + 4 * block + 3, w3.to(tl.int64), mask=4 * block + 3 < count)


@triton.jit
def _halves(out, at, word, least, count):
    """Whether each half of the words, the lower one first, is at least so large."""
    tl.store(out + at, (word & 0xFFFF).to(tl.int32) >= least, mask=at < count)
    tl.store(out + at + 1, (word >> 16).to(tl.int32) >= least, mask=at + 1 < count)


@triton.jit
def _kept(keys, at, out, stream, ordinal, count, least, tile: tl.constexpr):
    replica, block, w0, w1, w2, w3 = _drawn(keys, at, stream, ordinal, tile)
    out += replica * count
    _halves(out, 8 * block, w0, least, count)
    _halves(out, 8 * block + 2, w1, least, count)
    _halves(out, 8 * block + 4, w2, least, count)
    _halves(out, 8 * block + 6, w3, least, count)


def fits(keys: Tensor, count: int) -> bool:
    """Whether the kernels take these: on a GPU (anywhere in Triton's interpreter), and something to draw."""
    reachable = keys.is_cuda or not isinstance(_words, triton.JITFunction)
    return reachable and len(keys) > 0 and 0 < count < 1 << 30


def words(keys: Tensor, stream: int, at: Tensor, count: int, ordinal: int) -> Tensor:
    """What `rng.words` gives."""
    out = keys.new_empty(len(keys), count)
    with torch.cuda.device_of(keys):
        grid = (len(keys), triton.cdiv(triton.cdiv(count, 4), TILE))
        _words[grid](keys.contiguous(), at.contiguous(), out, stream, ordinal, count, tile=TILE)
    return out


def keep_mask(keys: Tensor, stream: int, at: Tensor, ordinal: int, count: int, least: int) -> Tensor:
    """(E, count) whether 16 random bits are at least `least`, as `rng.keep_mask` deals them out."""
    out = torch.empty(len(keys), count, dtype=torch.bool, device=keys.device)
    with torch.cuda.device_of(keys):
        grid = (len(keys), triton.cdiv(triton.cdiv(count, 8), TILE))
        _kept[grid](keys.contiguous(), at.contiguous(), out, stream, ordinal, count, least, tile=TILE)
    return out
