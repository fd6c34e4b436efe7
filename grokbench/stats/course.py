"""Several sequential tests at once: which are decided, which can stop, and at which level.

Pairs come in replica by replica, in all cells alike. After each, every cell has an e-value for the claim and one for
its reverse. The mean of the e-values of some cells is an e-value, too: of the hypothesis that all of these are null. A
cell is decided once every mean that it is part of has reached 1/α (closed testing: Marcus et al. 1976; with means of
e-values: Vovk and Wang 2021, "E-values: calibration, combination and applications", arXiv 1912.06116). So a false
decision anywhere needs the mean over the truly null cells to reach 1/α, and that happens with a probability of at most
α, however often one looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grokbench.stats import sequential
from grokbench.stats.paired import Floats

LARGE = 500.0  # log e-values beyond it make no difference, and their sums would overflow


class Course(NamedTuple):
    """Where the tests of m cells stand. Arrays (m,).

    pairs: that each cell has used; all after these are left alone. open: which need another pair. p, p_reverse: of each
    cell alone. p_adjusted, p_reverse_adjusted: over the family.
    """

    pairs: NDArray[np.intp]
    open: NDArray[np.bool_]
    p: Floats
    p_reverse: Floats
    p_adjusted: Floats
    p_reverse_adjusted: Floats


def closed(log_e: Floats, family: int) -> Floats:
    """(m,) logs of e-values adjusted over a family, from those of m of its cells; the others count as 0.

    The adjusted e-value of a cell is the smallest mean over any set of cells with this one in it: over it and the k
    smallest others, for the best k.
    """
    e = np.exp(np.minimum(log_e, LARGE))
    others = np.concatenate([np.zeros(family - len(e)), np.sort(e)])
    counts = np.arange(1, family + 1)
    before = np.append(0.0, np.cumsum(others)[:-1])  # the sum of the k smallest, k from 0
    # One more of the others lowers the mean until that one is as large as the mean; so k is the first that fulfils
    best = np.searchsorted(np.maximum.accumulate(counts * others - before), e)
    best = np.minimum(best, family - 1)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log((e + before[best]) / counts[best]))


def needed(others: Floats, family: int, level: float) -> float:
    """The log e-value with which a cell is decided at `level`, where its others stand at these."""
    e = np.sort(np.exp(np.minimum(others, LARGE)))
    smallest = np.append(0.0, np.cumsum(np.concatenate([np.zeros(family - 1 - len(e)), e])))
    return float(np.log((np.arange(1, family + 1) / level - smallest).max()))


def follow(differences: Sequence[Floats], family: int, level: float, most: int | None = None) -> Course:
    """How the tests went, from the differences (n,) of each cell so far, negative ones for the claim.

    A cell stops once it is decided on either side at `level`, when no outcome of its pairs up to `most` could decide
    it any more, or after `most` pairs. All cells that go on are looked at after the same pairs, so one that lacks a
    pair holds up the others. With None for `most`, every cell takes all pairs that it has.
    """
    m, threshold = len(differences), -math.log(level)
    paths = [
        np.array([np.append(0.0, sequential.log_e_sizes(d)), np.append(0.0, sequential.log_e_sizes(-d))])
        for d in differences
    ]
    counts = np.array([len(d) for d in differences], dtype=np.intp)
    last = int(counts.max(initial=0)) if most is None else most
    first = min(sequential.FIRST, last)
    pairs = np.zeros(m, dtype=np.intp)
    going = np.ones(m, dtype=bool)
    own, adjusted = np.zeros((2, m)), np.zeros((2, m))  # the largest so far, logs
    for pair in range(1, last + 1):
        if most is None:
            going = counts >= pair
        elif (counts[going] < pair).any():
            break
        pairs[going] = pair
        now = np.array([path[:, n] for path, n in zip(paths, pairs, strict=True)]).T
        own = np.maximum(own, now)
        if pair < first:
            continue
        adjusted = np.maximum(adjusted, [closed(side, family) for side in now])
        if most is not None:
            # A pair at most doubles an e-value.
            highest = now + (most - pairs) * going * math.log(2)
            lost = (np.array([closed(side, family) for side in highest]) < threshold).all(0)
            decided = (adjusted >= threshold).any(0)
            going = going & ~decided & ~lost
            if not going.any():
                break
    p, adjusted_p = np.exp(-own), np.exp(-adjusted)
    left = going & (pairs < last)
    return Course(pairs, left, p[0], p[1], adjusted_p[0], adjusted_p[1])
