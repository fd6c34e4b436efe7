"""Testing while the data come in: e-processes on pairs, taken in the order of the replicas.

An e-process is at most 1 on average, under its hypothesis, whenever one looks; so it ever reaches 1/α with a
probability of at most α (Ville 1939; Ramdas et al. 2023, "Game-theoretic statistics and safe anytime-valid inference").
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp

from grokbench.stats.paired import Floats, Interval

# Rates of `log_e_sizes`. For normal differences of mean μ and deviation σ the best is about |μ|/σ²: these suit effects
# of 5 % with a deviation of 0.3 as well as a factor of two with one of 0.15.
BETS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
SHARES = (0.5, 0.95)  # of the largest stake in `log_e_share`
FIRST = 6  # pairs at the first look: of fewer, no 95 % interval exists, since a pair at most doubles an e-value


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


def p_value(differences: NDArray[np.floating] | Sequence[float]) -> float:
    """1 over the largest E so far: a p-value however the number of pairs came about. 1 without pairs."""
    x = np.asarray(differences, dtype=float)
    return float(min(1.0, np.exp(-log_e_sizes(x).max()))) if len(x) else 1.0


def fewest(level: float) -> int:
    """The smallest number of pairs that can reach this level, all of them won by far."""
    return math.ceil(math.log2(1 / level) - 1e-9)


def ratio(
    differences: Callable[[float], Floats],
    widest: float,
    level: float = 0.95,
    bounds: Callable[[float, int], Floats] | None = None,
) -> tuple[float | None, Interval | None]:
    """The factor between the times of two arms, with an interval that holds it at whatever number of pairs one looks.

    differences: for a log ratio x, (n,) differences of log times between the candidate and e^x times the baseline; they
    fall as x grows, and stay as they are beyond ± widest. bounds: where they are not known exactly, for a log ratio and
    a sign the most (1) and the least (−1) that they can be. The interval has the ratios that neither side of
    `log_e_sizes` has ever rejected, each at half of 1 − level: a confidence sequence (Ramdas et al. 2023, section 3).
    Its ends are 0 and ∞ where nothing was rejected; it is None if each ratio was rejected at some time, as where the
    factor drifts from pair to pair. The ratio is the one at which both sides weigh the same; None where
    there is none, as when one arm never gets there.
    """

    def path(x: float, sign: int) -> Floats:
        return log_e_sizes(sign * (bounds(x, sign) if bounds else differences(x)))

    def crossing(of: Callable[[float], float]) -> float | None:
        """Where a function that grows, or stays, goes through zero."""
        below = next((-x for x in reaches if of(-x) < 0), None)
        above = next((x for x in reaches if of(x) > 1e-9), None)
        return None if below is None or above is None else float(np.exp(brentq(of, below, above, xtol=1e-6)))

    reaches = [widest / 2**i for i in range(6 if bounds else 1)]  # see `inversion`

    enough = math.log(2 / (1 - level))
    high = crossing(lambda x: path(x, 1).max() - enough)
    low = crossing(lambda x: enough - path(x, -1).max())
    middle = crossing(lambda x: float(np.subtract(*(log_e_sizes(sign * differences(x))[-1] for sign in (1, -1)))))
    interval = low or 0.0, high or math.inf
    return middle, interval if interval[0] <= interval[1] else None
