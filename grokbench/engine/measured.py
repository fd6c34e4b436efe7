"""What is measured of the slots of an ensemble.

Shapes: E replicas.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from grokbench.spec import Part

PARTS: tuple[Part, Part] = ("train", "validation")


class Evaluation(NamedTuple):
    """Arrays (E,) of all slots after an epoch. `finite` is False where a loss left the finite numbers."""

    train_accuracy: NDArray[np.float64]
    validation_accuracy: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    validation_loss: NDArray[np.float64]
    finite: NDArray[np.bool_]


class Measured(NamedTuple):
    """Arrays (E,) of some slots on one part. zero: share of rows without a loss. finite: all scores and losses are."""

    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    zero: NDArray[np.float64]
    finite: NDArray[np.bool_]

    def of(self, slots: Sequence[int]) -> Measured:
        """The same of some of the slots."""
        chosen = list(slots)
        return Measured(self.accuracy[chosen], self.loss[chosen], self.zero[chosen], self.finite[chosen])


def measured(figures: NDArray[np.float64], most: int | None) -> Measured:
    """What was measured, from `Ensemble._figures`; of some rows alone, no loss."""
    accuracy, loss, zero = figures
    unknown = np.full_like(loss, np.nan)
    return Measured(accuracy, unknown if most else loss, unknown if most else zero, np.isfinite(loss))


def advanced(found: Tensor, most: int) -> tuple[NDArray[np.float64], dict[Part, Measured]]:
    """Wait for what `Ensemble.launch` began: losses (E,), and what was measured on each part."""
    losses, *seen = np.split(found.cpu().numpy(), [1, 4])
    return losses[0], {part: measured(figures, most) for part, figures in zip(PARTS, seen, strict=True)}
