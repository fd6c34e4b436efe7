"""Statistics of two arms whose runs share nothing, in several cells. Arrays in, numbers out.

Shapes: one array (n,) a cell for the candidate and one (m,) for the baseline. Cells weigh alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from grokbench.stats.paired import Floats, Interval

NONE: Interval = (-np.inf, np.inf)


def ratio_interval(candidate: Sequence[Floats], baseline: Sequence[Floats], level: float = 0.95) -> Interval:
    """Welch's interval (1947) about the ratio of mean times, on the log scale; (0, ∞) where an arm has a single run.

    The error of a log mean is that of the delta method, s / (x̄ √n), or that of the mean log, whichever is larger: the
    first is too small where few runs stand for a long tail, the second where some runs end at the budget.
    """

    def error(x: Floats) -> float:
        return float(max(x.std(ddof=1) / x.mean(), np.log(x).std(ddof=1)) ** 2 / len(x))

    centre = float(np.mean([np.log(c.mean()) - np.log(b.mean()) for c, b in zip(candidate, baseline, strict=True)]))
    low, high = _welch(centre, candidate, baseline, error, level)
    return float(np.exp(low)), float(np.exp(high))


def difference_interval(candidate: Sequence[Floats], baseline: Sequence[Floats], level: float = 0.95) -> Interval:
    """Welch's interval about the difference of means; (−∞, ∞) where an arm has a single run."""
    centre = float(np.mean([c.mean() - b.mean() for c, b in zip(candidate, baseline, strict=True)]))
    return _welch(centre, candidate, baseline, lambda x: float(x.var(ddof=1) / len(x)), level)


def _welch(
    centre: float,
    candidate: Sequence[Floats],
    baseline: Sequence[Floats],
    error: Callable[[Floats], float],
    level: float,
) -> Interval:
    """error: the squared standard error of one arm in one cell."""
    arms = [x for pair in zip(candidate, baseline, strict=True) for x in pair]
    if min(map(len, arms)) < 2:
        return NONE
    errors = np.array([error(x) for x in arms]) / len(candidate) ** 2
    if not errors.any():
        return NONE
    freedom = errors.sum() ** 2 / sum(e**2 / (len(x) - 1) for e, x in zip(errors, arms, strict=True))
    half = float(special.stdtrit(freedom, (1 + level) / 2) * np.sqrt(errors.sum()))
    return centre - half, centre + half
