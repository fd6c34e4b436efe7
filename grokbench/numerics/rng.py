"""Counter-based random bits: (key, stream, ordinal, at, index) -> bits, equal on every device.

The generator is Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"), written in
int64 tensor operations because torch's own generators differ between CPU and CUDA and keep hidden state. A run
draws only from its own key, so that its numbers depend neither on its slot nor on its company.

Shapes: E replicas, N draws a replica.
"""

from __future__ import annotations

import math
from enum import IntEnum

import torch
from torch import Tensor

from grokbench.numerics.kernels.choice import wanted

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # Salmon et al. 2011, table 2
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


class Stream(IntEnum):
    """What the bits are for; streams of one key never overlap."""

    SPLIT = 0
    INIT = 1
    ORDER = 2
    DROPOUT = 3
    OPTIMIZER = 4
    MODULE = 5


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Four words of 32 random bits (int64) for each counter of four words under a key of two."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        low, high = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]  # wraps modulo 2^64, which keeps every bit
        c0, c1, c2, c3 = (
            ((high >> 32) & _MASK) ^ c1 ^ k0,
            high & _MASK,
            ((low >> 32) & _MASK) ^ c3 ^ k1,
            low & _MASK,
        )
        k0, k1 = (k0 + _KEY_STEPS[0]) & _MASK, (k1 + _KEY_STEPS[1]) & _MASK
    return c0, c1, c2, c3


def key_tensor(key: int) -> Tensor:
    """A 64-bit key as an int64 tensor of shape (), two's complement."""
    return torch.tensor(key - (1 << 64) if key >= 1 << 63 else key, dtype=torch.int64)


def words(keys: Tensor, stream: Stream, at: Tensor, count: int, ordinal: int = 0) -> Tensor:
    """(E, count) words of 32 random bits.

    keys: (E,) int64. at: (E,) the epoch or step that each replica is in. ordinal: which parameter or site.
    """
    if wanted(keys):
        from grokbench.numerics.kernels import random

        if random.fits(keys, count):
            return random.words(keys, stream, at, count, ordinal)
    index = torch.arange(-(-count // 4), device=keys.device)[None]  # (1, blocks)
    none = index * 0  # not `zeros_like`: the compiler of torch 2.9 folds constants, and then gets other bits
    counter = (index, at[:, None] & _MASK, none + int(stream), none + ordinal)
    drawn = philox(counter, ((keys & _MASK)[:, None], ((keys >> 32) & _MASK)[:, None]))
    return torch.stack(drawn, -1).flatten(1)[:, :count]


def permutation(keys: Tensor, stream: Stream, at: Tensor, count: int) -> Tensor:
    """(E, count) a uniform permutation of range(count) for each replica, by sorting 63-bit keys."""
    drawn = words(keys, stream, at, 2 * count)
    return torch.argsort((drawn[:, ::2] << 31) ^ drawn[:, 1::2], dim=1, stable=True)


def normal(key: int, ordinal: int, count: int) -> Tensor:
    """(count,) standard normal numbers in float64, drawn on the CPU (Box and Muller 1958)."""
    drawn = words(key_tensor(key)[None], Stream.INIT, torch.zeros(1, dtype=torch.int64), 2 * count, ordinal)[0]
    radius = ((drawn[::2] + 1).double() / 2**32).log().mul(-2).sqrt()
    return radius * torch.cos(drawn[1::2].double() * (2 * math.pi / 2**32))


def keep_mask(keys: Tensor, at: Tensor, ordinal: int, count: int, rate: float) -> Tensor:
    """(E, count) True where a unit survives dropout; the rate is rounded to a multiple of 2^-16."""
    least = round(rate * 2**16)
    if wanted(keys):
        from grokbench.numerics.kernels import random

        if random.fits(keys, count):
            return random.keep_mask(keys, Stream.DROPOUT, at, ordinal, count, least)
    drawn = words(keys, Stream.DROPOUT, at, -(-count // 2), ordinal)
    halves = torch.stack((drawn & 0xFFFF, drawn >> 16), -1).flatten(1)[:, :count]
    return halves >= least
