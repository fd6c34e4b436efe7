"""Sparse parity: whether the number of ones among k of n bits is odd (Barak et al. 2022, arXiv 2207.08799)."""

from __future__ import annotations

import numpy as np

from grokbench.spec.errors import require, whole
from grokbench.tasks.table import Family, Table

MOST = 19  # 2^20 is beyond what a task may have of rows


def sparse_parity(n: int, k: int) -> Table:
    """Questions [b_1 … b_n, =], every combination once. Which k bits count is all the same, so it is the first."""
    whole("n", n, 2)
    require(n <= MOST, f"n must be at most {MOST}, not {n}: 2^{n} rows are too many")
    whole("k", k, 1)
    require(k <= n, f"k must be at most n = {n}, not {k}")
    numbers = np.arange(1 << n)
    bits = (numbers[:, None] >> np.arange(n - 1, -1, -1)) & 1
    return Table(np.concatenate((bits, np.full((1 << n, 1), 2)), 1), bits[:, :k].sum(1) % 2)


FAMILIES = {"sparse_parity": Family(sparse_parity, {"n": 10, "k": 3}, 0.5, "parity of k of n bits")}
