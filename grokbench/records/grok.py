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

    @property
    def held(self) -> int | None:
        """The sustained grok of a run that grokked, None for one that did not or did not hold."""
        return self.sustained if self.outcome is Outcome.GROKKED else None


@dataclass(frozen=True)
class Diagnostics:
    """The state of a run after an epoch.

    spectral_norm: the largest singular value of any hidden matrix. effective_rank: exp of the entropy of a hidden
    matrix's singular values over their sum (Roy and Vetterli 2007), mean over the matrices. weight_norm: of all
    parameters. collapsed: share of training rows whose loss has rounded to zero, and with it their gradient (Prieto
    et al. 2025, arXiv 2501.04697). update_hidden, update_rest: root mean square of what the latest step added to the
    hidden matrices and to the other parameters, decay included.
    """

    epoch: int
    spectral_norm: float
    effective_rank: float
    weight_norm: float
    collapsed: float
    update_hidden: float
    update_rest: float


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

    @property
    def first(self) -> int | None:
        """The first crossing so far; taken back if training turns out not to have settled."""
        return self._first

    def _restart(self, candidate: int | None) -> None:
        self._candidate = candidate  # where the present stretch of high training accuracy began
        self._first: int | None = None
        self._sustained: int | None = None
        self._held_since: int | None = None
        self._held = 0
        self._below = 0

    def update(self, epoch: int, train_accuracy: float, validation_accuracy: float) -> bool:
        """Take in one evaluation; True once the run has ended, as nothing still to come can change its answer.

        An accuracy may be NaN if it is below its threshold or does not matter: training accuracy once training has
        settled, validation accuracy while training accuracy is below its threshold.
        """
        rule = self._criterion
        if self._fit is None:
            if not train_accuracy >= rule.train_threshold:
                self._settled_for = 0
                self._restart(None)
                return epoch >= rule.budget
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
        if self._fit is None or self._first is None:
            return epoch >= rule.budget
        if rule.after:
            return epoch >= self._first + rule.after
        return self._sustained is not None or epoch >= rule.budget

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
