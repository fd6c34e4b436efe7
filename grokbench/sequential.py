"""Testing while the data come in: an e-process on who wins each pair, taken in the order of the replicas.

Under the hypothesis that the candidate wins a pair that is no tie with a probability of at most one half, given the
pairs before, E is at most 1 on average whenever one looks, so it ever reaches 1/α with a probability of at most α
(Ville 1939; Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid inference"). The bet is a Beta
mixture over the probability of a win, cut off at one half, so that losses never speak for a claim, and with most of its
weight on candidates that win nearly always.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaln

from grokbench.stats import Floats

# Chosen before any verdict by the number of pairs that an unbroken row of wins, or one with a single loss, needs.
WINS, LOSSES = 4.0, 0.5
STEP = 3  # pairs between looks, after the first that can decide


def log_e(signs: NDArray[np.floating] | Sequence[float]) -> Floats:
    """(..., n) log E after each pair, from (..., n) differences: negative a win, positive a loss, zero a tie."""
    signs = np.asarray(signs, dtype=float)
    wins, losses = (signs < 0).cumsum(-1), (signs > 0).cumsum(-1)
    after, before = _log_upper(WINS + wins, LOSSES + losses), _log_upper(np.array(WINS), np.array(LOSSES))
    return np.asarray(after - before + (wins + losses) * math.log(2))


def _log_upper(a: Floats, b: Floats) -> Floats:
    """log of the integral of x^(a−1) (1−x)^(b−1) from ½ to 1; −∞ where that is too small for a float."""
    with np.errstate(divide="ignore"):
        return np.asarray(betaln(a, b) + np.log(betainc(b, a, 0.5)))


def p_value(signs: NDArray[np.floating] | Sequence[float]) -> float:
    """1 over the largest E so far: a p-value however the number of pairs came about. 1 without pairs."""
    signs = np.asarray(signs, dtype=float)
    return float(min(1.0, np.exp(-log_e(signs).max()))) if len(signs) else 1.0


def fewest(level: float) -> int:
    """The smallest number of pairs that can reach this level, all of them wins."""
    n = 1
    while p_value(-np.ones(n)) > level:
        n += 1
    return n


def stages(level: float, most: int) -> tuple[int, ...]:
    """After how many pairs to look, at most `most`: first where a decision at this level is possible."""
    first = min(fewest(level), most)
    return tuple(dict.fromkeys([*range(first, most, STEP), most]))
