"""How far a verdict depends on what was chosen: the budget, and first crossings instead of sustained grok times.

Exact from the pairs that the verdict used; nothing is trained. A smaller budget hides the later times, in all cells of
the claim alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from grokbench.claims import Question
from grokbench.stats.course import follow
from grokbench.stats.paired import Floats
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.pairs import Evidence, Sample, together

STEPS = 20  # budgets that are tried, each a twentieth of the whole budget less


class Robust(NamedTuple):
    """budget: the smallest, in epochs, from which on up to the `whole` one the verdict is the same. sustained: whether
    it is the same for sustained grok times; None where none are known.
    """

    budget: int
    whole: int
    sustained: bool | None

    @property
    def fragile(self) -> bool:
        """Whether half of the budget, or sustained times, would change the verdict."""
        return self.sustained is False or 2 * self.budget > self.whole


def in_cells(question: Question, cells: Sequence[Evidence], family: int) -> list[Robust]:
    """Of sequential verdicts in cells, decided or not. cells: those that were judged, and those still open."""

    def sides(changed: Sequence[Evidence]) -> list[int]:
        course = follow([e.differences for e in changed], family, question.bound)
        pairs = zip(course.p_adjusted, course.p_reverse_adjusted, strict=True)
        return [_side(p, q, question.bound) for p, q in pairs]

    return _compare(question, cells, sides)


def of_pool(question: Question, cells: Sequence[Evidence], family: int) -> Robust:
    """Of the sequential verdict over all of these cells."""

    def side(changed: Sequence[Evidence]) -> list[int]:
        course = follow([together(changed, lambda e: e.differences)], family, question.bound)
        return [_side(course.p_adjusted[0], course.p_reverse_adjusted[0], question.bound)]

    return _compare(question, cells, side)[0]


def _side(p: float, p_reverse: float, level: float) -> int:
    return 1 if p <= level and p <= p_reverse else -1 if p_reverse <= level else 0


def _compare(
    question: Question, cells: Sequence[Evidence], judge: Callable[[Sequence[Evidence]], list[int]]
) -> list[Robust]:
    whole = judge(cells)
    stands = [e.never - 1 for e in cells][: len(whole)]
    fixed = [False] * len(whole)
    for step in range(STEPS - 1, 0, -1):
        for i, side in enumerate(judge([_cut(question, e, step / STEPS) for e in cells])):
            fixed[i] = fixed[i] or side != whole[i]
            if not fixed[i]:
                stands[i] = (cells[i].never - 1) * step / STEPS
    sustained: list[bool | None] = [None] * len(whole)
    if not any(np.isnan(e.baseline.sustained).any() for e in cells):
        held = judge([_changed(question, e, lambda s: s.sustained, e.never) for e in cells])
        sustained = [a == b for a, b in zip(whole, held, strict=True)]
    whole_budgets = [round(e.never - 1) for e in cells]
    return [Robust(round(b), w, same) for b, w, same in zip(stands, whole_budgets, sustained, strict=False)]


def _cut(question: Question, e: Evidence, share: float) -> Evidence:
    """The pairs as they would be with this share of the budget."""
    never = np.floor((e.never - 1) * share) + 1
    return _changed(question, e, lambda s: np.minimum(s.value, never), never)


def _changed(question: Question, e: Evidence, times: Callable[[Sample], Floats], never: float) -> Evidence:
    arms = [replace(s, value=times(s)) for s in (e.baseline, e.candidate)]
    gaps = ENDPOINTS[question.test].differences(arms[0].value, arms[1].value, never, question.margin)
    return replace(e, baseline=arms[0], candidate=arms[1], never=float(never), differences=gaps)
