"""Parity: whether the number of ones among n bits is odd, asked in two tokens of n/2 bits or bit by bit."""

from __future__ import annotations

import numpy as np

from grokbench.spec import TaskSpec
from grokbench.tasks.table import Table


def table(spec: TaskSpec) -> Table:
    """Rows in the order of the numbers, [hi, op, lo, =] or [b_n … b_1, =]."""
    assert spec.bits is not None
    assert spec.bits_per_token is not None
    operator, equals = spec.operands, spec.operands + 1
    numbers = np.arange(spec.rows)
    shifts = np.arange(spec.bits - spec.bits_per_token, -1, -spec.bits_per_token)
    digits = (numbers[:, None] >> shifts) % spec.operands  # (N, tokens), the highest first
    ends = np.full((spec.rows, 1), equals)
    if spec.bits_per_token == 1:
        questions = np.concatenate((digits, ends), 1)
    else:
        questions = np.concatenate((digits[:, :1], np.full_like(ends, operator), digits[:, 1:], ends), 1)
    bits = (numbers[:, None] >> np.arange(spec.bits)) & 1
    return Table(questions, bits.sum(1) % 2)
