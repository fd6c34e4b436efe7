"""What every kind of test has: a value of each record, a difference of each pair, a test, a size and its wording."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from grokbench.claims import Comparison, Question
from grokbench.records.store import Record
from grokbench.stats import permutation, sequential
from grokbench.stats.paired import Floats, Interval
from grokbench.verdicts.pairs import (
    Evidence,
    Sample,
    arms_of,
    blocks_of,
    evaluated_alike,
    evened,
    sums,
    together,
    told,
)

Tested = tuple[float, float, str]
"""p of the claim, p of its reverse, and what else is to be said."""


class Found(Protocol):
    """What a verdict has that is put into words; see `verdict.Verdict`."""

    @property
    def question(self) -> Question: ...
    @property
    def arms(self) -> tuple[str, ...]: ...
    @property
    def supported(self) -> bool: ...
    @property
    def pairs(self) -> int: ...
    @property
    def ratio(self) -> float | None: ...
    @property
    def interval(self) -> Interval | None: ...
    @property
    def difference(self) -> float | None: ...
    @property
    def grokked(self) -> Mapping[str, int]: ...
    @property
    def median(self) -> Mapping[str, float | None]: ...
    @property
    def note(self) -> str: ...


class Endpoint:
    """One kind of test. meaning: what supports the claim, for a reader. timed: it compares grok times. tabled: its
    verdicts have a table of their own, cell by cell, with the ratio of sustained times beside.
    """

    timed = False
    crossings = True  # its samples have grok times, whatever it compares
    ratio_name = "time"

    def __init__(self, name: str, meaning: str, *, tabled: bool = False) -> None:
        self.name, self.meaning, self.tabled = name, meaning, tabled

    def value(self, record: Record, never: float) -> float:
        """What is compared of a run; NaN where nothing is known."""
        return record.time.epoch or never

    def scale(self, value: Floats) -> Floats:
        """Values as means of them are compared; smaller is for the claim."""
        return np.log(value)

    def differences(
        self, baseline: Floats, candidate: Floats, never: float | Floats, margin: float, width: float = 0.0
    ) -> Floats:
        """(n,) differences, see `Evidence`; here log T_candidate − log(margin · T_baseline).

        Both are cut where both can be seen: the budget hides T_candidate beyond `never`, and margin · T_baseline beyond
        margin · never. So they are exchangeable within a pair if the uncut ones are, as sign flips have it.

        A time T means that it came within (T − width, T]. On a margin the one arm's times are then rounded by another
        width than the other's. So the middles are compared, and where both may be the same it is a tie.
        """
        middle = width / 2 if margin != 1 else 0.0
        c, b = self._logs(baseline - middle, candidate - middle, never - middle, margin)
        may_be_equal = abs(candidate - middle - margin * (baseline - middle)) < (1 + margin) * middle
        return np.where(may_be_equal | (abs(c - b) < 1e-12), 0.0, c - b)  # margin · T rounds

    @staticmethod
    def _logs(baseline: Floats, candidate: Floats, never: float | Floats, margin: float) -> tuple[Floats, Floats]:
        """The logs of the candidate's times and of margin times the baseline's, cut where both can be seen."""
        end = never * min(1.0, margin)
        return np.log(np.minimum(candidate, end)), np.log(np.minimum(margin * baseline, end))

    def test(self, question: Question, cells: Sequence[Evidence], rng: np.random.Generator) -> Tested:
        """Sign flips of the differences, or an e-process on them, or permutations where nothing is paired."""
        if not question.paired:
            candidate, baseline = ([self.scale(s.value) for s in arm] for arm in arms_of(cells))
            return *permutation.shuffle(candidate, baseline), ""
        if question.sequential:
            came = together(cells, lambda e: e.differences)
            return sequential.p_value(came), sequential.p_value(-came), ""
        # A table may have very many cells
        patterns = permutation.PLAIN if isinstance(question, Comparison) else permutation.RESAMPLES
        return *permutation.sign_flip(np.concatenate(sums(cells, lambda e: e.differences)), rng, patterns), ""

    def least(self, question: Question, cells: Sequence[Evidence]) -> float:
        """The smallest p that `test` can have with so many runs, whatever their values."""
        if not question.paired:
            return permutation.rarest((len(e.candidate.value), len(e.baseline.value)) for e in cells)
        pairs = len(together(cells, lambda e: e.differences)) if question.sequential else blocks_of(cells)
        return 2.0**-pairs

    def size(
        self, question: Question, cells: Sequence[Evidence], rng: np.random.Generator
    ) -> tuple[float | None, Interval | None]:
        """The size of the effect as a ratio, if the endpoint has one, and the 95 % interval of its size."""
        return None, None

    def ratio_so_far(
        self, cells: Sequence[Evidence], pick: Callable[[Sample], Floats] = lambda sample: sample.value
    ) -> tuple[float | None, Interval | None]:
        """The ratio of times with an interval, both valid whenever one looks; pooled, of the replicas all cells have.

        A ratio of ρ is tested as a margin of ρ would be, so censoring takes nothing from the level.
        """

        def differences(log_ratio: float) -> Floats:
            margin = math.exp(log_ratio)
            return together(even, lambda e: self.differences(pick(e.baseline), pick(e.candidate), e.never, margin))

        def bounds(log_ratio: float, side: int) -> Floats:
            return together(cells, functools.partial(self._bound, margin=math.exp(log_ratio), side=side))

        even = [evened(e) for e in cells]
        widest = math.log(max(e.never for e in cells)) + 1
        return sequential.ratio(differences, widest, bounds=bounds if told(cells) else None)

    def _bound(self, e: Evidence, margin: float, side: int) -> Floats:
        """The differences of a cell, as far to one side as they may be; see `evaluations.alike`."""
        return self.differences(*evaluated_alike(e, margin, side), e.never, margin)

    def difference(self, cells: Sequence[Evidence]) -> float | None:
        """The size of the effect as a difference, if the endpoint has one."""
        return None

    def counts(self, value: Floats, never: float) -> NDArray[np.bool_]:
        """(n,) which values a median may be taken of; the others count as larger than any."""
        return np.isfinite(value)

    def finding(self, v: Found) -> str:
        """What the candidate did, of a claim that is decided."""
        raise NotImplementedError

    def undecided(self, v: Found) -> str:
        """What is seen of a claim that is not."""
        return v.note

    def shown_ratio(self, v: Found) -> str:
        if v.ratio is not None:
            return f"{self.ratio_name} ratio {v.ratio:.2f}"
        low, high = v.interval or (0.0, math.inf)
        known = f"above {low:.2f}" if low > 0 else f"below {high:.2f}" if high < math.inf else "unknown"
        return f"{self.ratio_name} ratio {known}"
