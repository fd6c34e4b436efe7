"""When a run counts as grokked."""

from __future__ import annotations

from dataclasses import dataclass

from grokbench.spec.errors import require, whole


@dataclass(frozen=True)
class GrokCriterion:
    """When a run counts as grokked, and how long it may take.

    Evaluations come after every epoch. Training has settled at the first epoch of `settle`
    consecutive evaluations with training accuracy of at least `train_threshold`; from there on, the first
    evaluation with validation accuracy of at least `threshold` is the first crossing, and the first one
    that is followed by `hold` more is the sustained grok. A run ends once both are known, or after `budget`
    epochs; with `after`, a run that has crossed within the budget ends that many epochs after the crossing. 95 %
    "after training accuracy has stabilised near 100 %" is Tveit et al. 2025 (arXiv 2504.16041); 0.99, `settle` and
    `hold` are chosen here.
    """

    budget: int
    threshold: float = 0.95
    train_threshold: float = 0.99
    settle: int = 3
    hold: int = 10
    after: int = 0

    def __post_init__(self) -> None:
        whole("budget", self.budget, 1)
        whole("settle", self.settle, 1)
        whole("hold", self.hold, 0)
        whole("after", self.after, 0)
        for field in ("threshold", "train_threshold"):
            value = getattr(self, field)
            require(0 < value <= 1, f"{field} must lie in (0, 1], not {value!r}")
