"""The seven tasks as tables: every question once, with its answer.

Shapes: N rows, T tokens, E replicas.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from grokbench import rng
from grokbench.spec import TaskSpec


class TaskData(NamedTuple):
    """tokens: (N, T) int64, the token's integer is its row in the learned table. labels: (N,) int64."""

    tokens: Tensor
    labels: Tensor


def generate(spec: TaskSpec) -> TaskData:
    """Every question of a task, in a fixed order. 0 to the power of 0 is 1; gcd(0, 0) is 0."""
    if spec.name == "parity":
        return _parity(spec)
    p = spec.modulus
    assert p is not None
    pairs = [(a, b) for a in range(p) for b in range(p) if spec.name != "div" or b != 0]
    answers: dict[str, Callable[[int, int], int]] = {
        "add": lambda a, b: (a + b) % p,
        "sub": lambda a, b: (a - b) % p,
        "mul": lambda a, b: a * b % p,
        "div": lambda a, b: a * pow(b, -1, p) % p,
        "exp": lambda a, b: pow(a, b, p),
        "gcd": math.gcd,
    }
    operator, equals = p, p + 1
    tokens = torch.tensor([[a, operator, b, equals] for a, b in pairs])
    return TaskData(tokens, torch.tensor([answers[spec.name](a, b) for a, b in pairs]))


def _parity(spec: TaskSpec) -> TaskData:
    assert spec.bits is not None
    assert spec.bits_per_token is not None
    operator, equals = spec.operands, spec.operands + 1
    numbers = torch.arange(spec.rows)
    shifts = torch.arange(spec.bits - spec.bits_per_token, -1, -spec.bits_per_token)
    digits = (numbers[:, None] >> shifts) % spec.operands  # (N, tokens), the highest first
    ends = torch.full((spec.rows, 1), equals)
    if spec.bits_per_token == 1:
        tokens = torch.cat((digits, ends), 1)
    else:
        tokens = torch.cat((digits[:, :1], torch.full_like(ends, operator), digits[:, 1:], ends), 1)
    bits = (numbers[:, None] >> torch.arange(spec.bits)) & 1
    return TaskData(tokens, bits.sum(1) % 2)


def split(spec: TaskSpec, keys: Tensor) -> tuple[Tensor, Tensor]:
    """(E, train rows) and (E, validation rows): row numbers of each replica's two sets."""
    order = rng.permutation(keys, rng.Stream.SPLIT, torch.zeros_like(keys), spec.rows)
    return order[:, : spec.train_rows], order[:, spec.train_rows :]
