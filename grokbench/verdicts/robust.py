"""How far a verdict depends on what was chosen: the budget, and first crossings instead of sustained grok times.

Exact from the pairs that the verdict used; nothing is trained. A smaller budget hides the later times.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from grokbench.claims import Question
from grokbench.stats import sequential
from grokbench.stats.paired import Floats
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.pairs import Evidence, Sample, together

STEPS = 20  # budgets that are tried, each a twentieth of the whole budget less


class Robust(NamedTuple):
    """budget: the smallest, in epochs, from which on up to the `whole` one the verdict stands. sustained: whether it
    stands for sustained grok times; None where none are known.
    """

    budget: int
    whole: int
    sustained: bool | None

    @property
    def fragile(self) -> bool:
        """Whether half of the budget, or sustained times, would change the verdict."""
        return self.sustained is False or 2 * self.budget > self.whole


def of(question: Question, cells: Sequence[Evidence], supported: bool) -> Robust:
    """Of a sequential verdict on times, in one cell or over all of these.

    It stands where the test of these pairs alone reaches the level, uncorrected: training stops as soon as the
    corrected one does, so nearly every verdict would be undone if it had to reach that again.
    """

    def stands(changed: Sequence[Evidence]) -> bool:
        gaps = together(changed, lambda e: e.differences)
        return sequential.p_value(gaps if supported else -gaps) <= question.bound

    step = STEPS
    while step > 1 and stands([_cut(question, e, (step - 1) / STEPS) for e in cells]):
        step -= 1
    whole = max(e.never for e in cells) - 1
    sustained = None
    if not any(np.isnan(e.baseline.sustained).any() for e in cells):
        sustained = stands([_changed(question, e, lambda s: s.sustained, e.never) for e in cells])
    return Robust(round(whole * step / STEPS), round(whole), sustained)


def _cut(question: Question, e: Evidence, share: float) -> Evidence:
    """The pairs as they would be with this share of the budget."""
    never = np.floor((e.never - 1) * share) + 1
    return _changed(question, e, lambda s: np.minimum(s.value, never), never)


def _changed(question: Question, e: Evidence, times: Callable[[Sample], Floats], never: float) -> Evidence:
    arms = [replace(s, value=times(s)) for s in (e.baseline, e.candidate)]
    gaps = ENDPOINTS[question.test].differences(arms[0].value, arms[1].value, never, question.margin, e.width)
    return replace(e, baseline=arms[0], candidate=arms[1], never=float(never), differences=gaps)
