"""What every task is: a table of questions and answers.

Shapes: N rows, T tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Table(NamedTuple):
    """questions: (N, T), the token's integer is its row in the learned table. answers: (N,)."""

    questions: NDArray[np.int64]
    answers: NDArray[np.int64]
