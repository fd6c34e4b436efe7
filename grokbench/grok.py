"""Accuracy curves -> the time at which a run grokked. Torch-free."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from grokbench.spec import GrokCriterion


class Outcome(Enum):
    """How a run ended. Only GROKKED is an event; the other two count as "did not grok"."""

    GROKKED = "grokked"
    CENSORED = "censored"  # used its whole budget without a first crossing: raise the budget
    DIVERGED = "diverged"  # its loss left the finite numbers: lower the learning rate


@dataclass(frozen=True)
class GrokTime:
    """When a run grokked, in epochs counted from 1.

    first: the first crossing. sustained: the first of the evaluations that held. fit: when training settled.
    below: evaluations below the threshold after the first crossing. epochs: epochs trained. A diverged run
    keeps what it had reached, but did not grok.
    """

    outcome: Outcome
    epochs: int
    fit: int | None = None
    first: int | None = None
    sustained: int | None = None
    below: int = 0

    @property
    def epoch(self) -> int | None:
        """The first crossing of a run that grokked, None for one that did not."""
        return self.first if self.outcome is Outcome.GROKKED else None


@dataclass(frozen=True, eq=False)
class Trace:
    """A run's curves: arrays (epochs,), taken after the epochs in `epoch`; a loss is a mean over rows.

    NaN where it could not change the grok time, or was only seen to lie below its threshold.
    """

    epoch: NDArray[np.int32]
    train_accuracy: NDArray[np.float64]
    validation_accuracy: NDArray[np.float64]
    train_loss: NDArray[np.float32]
    validation_loss: NDArray[np.float32]

    def __eq__(self, other: object) -> bool:
        """Bit-equality; NaN equals NaN."""
        if not isinstance(other, Trace):
            return NotImplemented
        return all(
            np.array_equal(mine, theirs, equal_nan=True)
            for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]


class GrokDetector:
    """Follows one run, evaluation by evaluation; see `GrokCriterion` for the rules."""

    def __init__(self, criterion: GrokCriterion) -> None:
        self._criterion = criterion
        self._fit: int | None = None
        self._restart(None)
        self._settled_for = 0

    @property
    def settled(self) -> bool:
        """Whether training has settled, so that training accuracy no longer matters."""
        return self._fit is not None

    def _restart(self, candidate: int | None) -> None:
        self._candidate = candidate  # where the present stretch of high training accuracy began
        self._first: int | None = None
        self._sustained: int | None = None
        self._held_since: int | None = None
        self._held = 0
        self._below = 0

    def update(self, epoch: int, train_accuracy: float, validation_accuracy: float) -> bool:
        """Take in one evaluation; True once nothing that is still to come can change the grok time.

        An accuracy may be NaN if it is below its threshold or does not matter: training accuracy once training has
        settled, validation accuracy while training accuracy is below its threshold.
        """
        rule = self._criterion
        if self._fit is None:
            if not train_accuracy >= rule.train_threshold:
                self._settled_for = 0
                self._restart(None)
                return False
            if self._settled_for == 0:
                self._restart(epoch)
            self._settled_for += 1
            if self._settled_for == rule.settle:
                self._fit = self._candidate
        if validation_accuracy >= rule.threshold:
            self._first = self._first or epoch
            self._held_since = self._held_since or epoch
            self._held += 1
            if self._sustained is None and self._held > rule.hold:
                self._sustained = self._held_since
        else:
            self._held_since, self._held = None, 0
            self._below += self._first is not None
        return self._fit is not None and self._sustained is not None

    def result(self, epochs: int, diverged: bool) -> GrokTime:
        """The grok time of a run that ended after `epochs` epochs."""
        if self._fit is None:
            self._restart(None)
        grokked = Outcome.GROKKED if self._first else Outcome.CENSORED
        outcome = Outcome.DIVERGED if diverged else grokked
        return GrokTime(outcome, epochs, self._fit, self._first, self._sustained, self._below)


def grok_time(trace: Trace, criterion: GrokCriterion, diverged: bool = False) -> GrokTime:
    """The grok time of a finished run from its curves."""
    detector = GrokDetector(criterion)
    for epoch, train, validation in zip(
        trace.epoch.tolist(), trace.train_accuracy.tolist(), trace.validation_accuracy.tolist(), strict=True
    ):
        detector.update(epoch, train, validation)
    return detector.result(int(trace.epoch[-1]) if len(trace.epoch) else 0, diverged)
