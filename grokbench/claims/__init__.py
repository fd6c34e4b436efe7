"""Claims: what is compared, on which runs, and by which rule it is decided. Torch-free."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

from grokbench.spec import GrokCriterion, ModelSpec, OptimizerSpec, RunSpec, TaskSpec, UsageError


class Cell(NamedTuple):
    """Where a claim is tested: one task under one softmax."""

    task: TaskSpec
    softmax: str

    def __str__(self) -> str:
        return f"{self.task.name}-{self.softmax}"


class Arm(NamedTuple):
    """One side of a comparison; the label is what tables call it."""

    label: str
    optimizer: OptimizerSpec


@dataclass(frozen=True)
class Claim:
    """A statement that the candidate groks earlier than the baseline, in each cell and over all of them.

    The arms share everything but the optimizer. `level` is that of every one-sided test, after Holm's
    adjustment over the cells.
    """

    name: str
    statement: str
    source: str
    baseline: Arm
    candidate: Arm
    cells: tuple[Cell, ...]
    model: ModelSpec
    criterion: GrokCriterion
    batch: int
    replicas: int
    level: float = 0.05

    def __post_init__(self) -> None:
        if self.baseline.optimizer == self.candidate.optimizer:
            raise UsageError(f"both arms are {self.baseline.optimizer}: name two different optimizers")

    @property
    def arms(self) -> tuple[Arm, Arm]:
        return self.baseline, self.candidate

    def runs(self, cell: Cell, arm: Arm) -> list[RunSpec]:
        """The runs of one arm in one cell, one for each replica, in order."""
        return list(_runs(cell, arm, self.model, self.criterion, self.batch, self.replicas))


@functools.lru_cache(maxsize=4096)  # so that the digest of each is computed once
def _runs(
    cell: Cell, arm: Arm, model: ModelSpec, criterion: GrokCriterion, batch: int, replicas: int
) -> tuple[RunSpec, ...]:
    return tuple(RunSpec(cell.task, cell.softmax, model, arm.optimizer, criterion, batch, r) for r in range(replicas))
