"""What every task is: a table of questions and answers.

Shapes: N rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grokbench.spec import Value


class Table(NamedTuple):
    """questions: (N, T), the token's integer is its row in the learned table. answers: (N,).

    vocabulary, classes: how many tokens and answers there are, where that is more than those that occur.
    """

    questions: NDArray[np.int64]
    answers: NDArray[np.int64]
    vocabulary: int | None = None
    classes: int | None = None


class Family(NamedTuple):
    """A built-in task beside the published ones: a function of its settings, and what it is called with by default."""

    table: Callable[..., Table]
    defaults: dict[str, Value]
    train_share: float
    summary: str


def pairs(size: int) -> NDArray[np.int64]:
    """(size², 4) every question [a, op, b, =] of two numbers below `size`, in the order of a, then b."""
    a, b = np.divmod(np.arange(size * size), size)
    return np.stack([a, np.full_like(a, size), b, np.full_like(a, size + 1)], 1)
