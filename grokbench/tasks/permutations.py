"""Composition in the group of all permutations of n things, as in Power et al. 2022 (arXiv 2201.02177) for n = 5."""

from __future__ import annotations

import itertools
import math

import numpy as np

from grokbench.spec.errors import require, whole
from grokbench.tasks.table import Family, Table, pairs

MOST = 6  # 7! squared is beyond what a task may have of rows


def composition(n: int) -> Table:
    """Questions [s, op, t, =] of two permutations, numbered in lexicographic order; the answer is s ∘ t."""
    whole("n", n, 2)
    require(n <= MOST, f"n must be at most {MOST}, not {n}: {math.factorial(n)} permutations make too many rows")
    every = np.array(list(itertools.permutations(range(n))))  # (n!, n)
    weights = n ** np.arange(n - 1, -1, -1)
    numbers = every @ weights  # ascending, as the order is lexicographic
    questions = pairs(len(every))
    s, t = every[questions[:, 0]], every[questions[:, 2]]
    return Table(questions, np.searchsorted(numbers, np.take_along_axis(s, t, 1) @ weights))


FAMILIES = {"permutations": Family(composition, {"n": 5}, 0.5, "composition of permutations of n things")}
