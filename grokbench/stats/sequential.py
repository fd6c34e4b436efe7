"""Testing while the data come in: e-processes on pairs, taken in the order of the replicas.

`log_e` looks at who wins each pair. `log_e_sizes` looks at by how much, too, and needs fewer pairs for small effects;
its hypothesis is that of sign flips, that within a pair the arms are exchangeable.

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
from scipy.special import betainc, betaln, logsumexp

from grokbench.stats.paired import Floats

# Chosen before any verdict by the number of pairs that an unbroken row of wins, or one with a single loss, needs.
WINS, LOSSES = 4.0, 0.5
# Rates of `log_e_sizes`. For normal differences of mean μ and deviation σ the best is about |μ|/σ²: these suit effects
# of 5 % with a deviation of 0.3 as well as a factor of two with one of 0.15.
BETS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
SHARES = (0.5, 0.95)  # of the largest stake in `log_e_share`
STEP = 3  # pairs between looks, after the first that can decide


def log_e(signs: NDArray[np.floating] | Sequence[float]) -> Floats:
    """(..., n) log E after each pair, from (..., n) differences: negative a win, positive a loss, zero a tie."""
    signs = np.asarray(signs, dtype=float)
    wins, losses = (signs < 0).cumsum(-1), (signs > 0).cumsum(-1)
    after, before = _log_upper(WINS + wins, LOSSES + losses), _log_upper(np.array(WINS), np.array(LOSSES))
    return np.asarray(after - before + (wins + losses) * math.log(2))


def log_e_sizes(differences: NDArray[np.floating] | Sequence[float]) -> Floats:
    """(..., n) log E after each pair, from (..., n) differences of log times: negative ones speak for the claim.

    If a difference is as likely to be x as −x, given the pairs before, or tends to be larger than that, then so much
    as 2 / (1 + exp(2λx)) is at most 1 on average for every rate λ > 0: it bets on the sign of each difference, the more
    on large ones, and with an infinite rate all on the sign alone. E is the mean over `BETS` of the products.
    """
    x = np.asarray(differences, dtype=float)
    gains = math.log(2) - np.logaddexp(0, 2 * np.multiply.outer(np.array(BETS), x))
    return np.asarray(logsumexp(gains.cumsum(-1), axis=0) - math.log(len(BETS)))


def log_e_share(losses: NDArray[np.floating] | Sequence[float], limit: float) -> Floats:
    """(..., n) log E after each pair, from (..., n) numbers in [−1, 1]: evidence that their mean is below `limit`.

    Betting on the mean of bounded numbers (Waudby-Smith and Ramdas 2024, arXiv 2010.09686): with a mean of at least the
    limit, given the pairs before, 1 + λ (limit − x) is at most 1 on average. E is the mean over `SHARES` of the largest
    λ that cannot lose more than everything.
    """
    rates = np.array(SHARES) / (1 - limit)
    gains = np.log1p(np.multiply.outer(rates, limit - np.asarray(losses, dtype=float)))
    return np.asarray(logsumexp(gains.cumsum(-1), axis=0) - math.log(len(SHARES)))


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
