"""Claims: what is compared, on which runs, and by which rule it is decided; one module a paper. Torch-free."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

from grokbench.claims.presets import PRESETS, Preset
from grokbench.claims.protocols import Grid
from grokbench.claims.question import Question
from grokbench.spec import (
    GrokCriterion,
    ModelSpec,
    ModuleSpec,
    OptimizerSpec,
    RunSpec,
    TaskSpec,
    UsageError,
    choose,
    registry,
)
from grokbench.spec.plugins import SOFTMAX, TASK
from grokbench.spec.softmax import SOFTMAXES, softmax


class Cell(NamedTuple):
    """Where a claim is tested: one task under one softmax."""

    task: TaskSpec
    softmax: str

    def __str__(self) -> str:
        return f"{self.task.name}-{self.softmax}"


def cells_of(preset: Preset, tasks: Sequence[str] = (), softmaxes: Sequence[str] = ()) -> tuple[Cell, ...]:
    """The cells of a preset with these tasks and softmaxes; none of a kind means all that the preset has.

    A task may be the preset's own, by its name, or any other, as `grokbench.tasks.parse` reads it. Raises `UsageError`.
    """
    known = {task.name: task for task in preset.tasks}
    asked: dict[str, TaskSpec] = {}
    for text in dict.fromkeys(tasks):
        task = known.get(text) or _other_task(preset, text)
        if asked.setdefault(task.name, task) != task:
            raise UsageError(f"two tasks are called {task.name}: ask for one at a time")
    under = dict.fromkeys(_softmax(preset, text) for text in softmaxes)
    return tuple(Cell(task, name) for task in (asked or known).values() for name in under or preset.softmaxes)


def _softmax(preset: Preset, text: str) -> str:
    """A softmax of the preset or any other, in the one way to write it. Raises `UsageError`."""
    if "(" not in text and ":" not in text:
        names = dict.fromkeys((*preset.softmaxes, *SOFTMAXES, *SOFTMAX.names(), "package.module:Attribute"))
        choose(f"softmax of preset {preset.name}", text, tuple(names))
    return softmax(text)


def chosen_from(preset: Preset, cells: Sequence[Cell]) -> set[Cell]:
    """The cells that these were chosen from: they themselves, and all of a preset that has one of them.

    That is this preset, and for cells which it does not have, any built-in one of like runs. So a cell has
    the same family however it is typed.
    """
    own, found = set(cells_of(preset)), set(cells)
    foreign = found - own
    if found & own:
        found |= own
    for other in PRESETS.values():
        # A cell with a budget of one's own is the same cell
        rule = dataclasses.replace(other.criterion, budget=preset.criterion.budget)
        if (other.model, rule, other.batch) == (preset.model, preset.criterion, preset.batch):
            theirs = set(cells_of(other))
            if foreign & theirs:
                found |= theirs
    return found


def pools_of(asked: Collection[Cell], family: Collection[Cell]) -> int:
    """How many pools could have been asked for as well as that of these cells, out of a family.

    All cells together are one question. One cell is a question of its own, of which there are as many as cells. A part
    is one of all that some of the tasks have under some of the softmaxes.
    """
    if len(asked) in (1, len(family)):
        return len(family) if len(asked) == 1 else 1
    tasks, softmaxes = len({cell.task for cell in family}), len({cell.softmax for cell in family})
    return int((2**tasks - 1) * (2**softmaxes - 1))


def _other_task(preset: Preset, text: str) -> TaskSpec:
    """A task that the preset does not have. A published one needs its size, so of those no bare name will do."""
    from grokbench import tasks  # it brings numpy, which the command line need not wait for

    if "(" not in text and ":" not in text:
        names = [*(task.name for task in preset.tasks), *tasks.families(), *TASK.names()]
        choose(f"task of preset {preset.name}", text, (*names, "name(key=value, …)", "package.module:Attribute"))
    return tasks.parse(text)


class Arm(NamedTuple):
    """One side of a comparison; the label is what tables call it. softmax: instead of the cell's."""

    label: str
    optimizer: OptimizerSpec
    softmax: str | None = None


@dataclass(frozen=True)
class Claim(Question):
    """A question with the runs that answer it, in each cell and, if `pooled`, over all of them.

    The arms share everything but what is compared. replicas: pairs in a cell, at the most if sequential. grid: both
    arms are tuned on it, cell by cell. family: from how many cells these were chosen, None if
    that was before any data were seen. pools: how many parts of these cells there are, of which these are one.
    """

    baseline: Arm
    candidate: Arm
    cells: tuple[Cell, ...]
    model: ModelSpec | ModuleSpec
    criterion: GrokCriterion
    batch: int
    replicas: int
    grid: Grid | None = None
    family: int | None = None
    pools: int = 1

    def __post_init__(self) -> None:
        if self.baseline[1:] == self.candidate[1:]:
            raise UsageError(f"both arms are {self.baseline.optimizer}: name two different optimizers")

    @property
    def arms(self) -> tuple[Arm, Arm]:
        return self.baseline, self.candidate

    @property
    def labels(self) -> tuple[str, str]:
        return self.baseline.label, self.candidate.label

    @property
    def places(self) -> tuple[Cell | None, ...]:
        """Where it is decided: in cells, and None for all of them together."""
        return (*(self.cells if self.per_cell else ()), *((None,) if self.pooled else ()))

    def family_of(self, asked: int) -> int:
        """Over how many cells the tests of so many selected ones are corrected."""
        return max(self.family, len(self.cells)) if self.family else asked

    def runs(self, cell: Cell, arm: Arm, replicas: int | None = None) -> list[RunSpec]:
        """The runs of one arm in one cell, one for each replica, in order."""
        count = self.replicas if replicas is None else replicas
        return list(_runs(cell, arm, self.model, self.criterion, self.batch, range(count)))

    def tuning(self, cell: Cell, arm: Arm) -> dict[OptimizerSpec, list[RunSpec]]:
        """The runs that choose an arm's setting in a cell."""
        if self.grid is None:
            return {}
        criterion = dataclasses.replace(self.criterion, after=0)
        return {
            setting: list(
                _runs(cell, arm._replace(optimizer=setting), self.model, criterion, self.batch, self.grid.replicas)
            )
            for setting in self.grid.settings(arm.optimizer)
        }


@dataclass(frozen=True)
class Audit(Question):
    """Whether published figures can hold together. reported: a t statistic and its two-sided p. It needs no runs."""

    _: KW_ONLY
    test: str = "audit"
    reported: tuple[float, float]

    @property
    def labels(self) -> tuple[str, ...]:
        return ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        return ()

    @property
    def places(self) -> tuple[None]:
        return (None,)


@functools.lru_cache(maxsize=1 << 14)  # so that the digest of each is computed once
def _runs(
    cell: Cell,
    arm: Arm,
    model: ModelSpec | ModuleSpec,
    criterion: GrokCriterion,
    batch: int,
    replicas: range | tuple[int, ...],
) -> tuple[RunSpec, ...]:
    softmax = arm.softmax or cell.softmax
    return tuple(RunSpec(cell.task, softmax, model, arm.optimizer, criterion, batch, r) for r in replicas)


class Setup(NamedTuple):
    """What an invocation sets for every claim. cells: where the user looks; replicas: None for the preset's own.

    family: from how many cells these were chosen, None if that was before any data were seen. pools: how many parts of
    these there are, 1 if the user looks at all of them. comparisons: how many asserted ones are decided together.
    """

    preset: Preset
    cells: tuple[Cell, ...]
    replicas: int | None
    sequential: bool
    family: int | None = None
    pools: int = 1
    comparisons: int = 1

    def cell(self, task: str, softmax: str) -> Cell:
        """A cell of the preset. Raises `UsageError` if it has none such."""
        for spec in self.preset.tasks:
            if spec.name == task and softmax in self.preset.softmaxes:
                return Cell(spec, softmax)
        raise UsageError(f"this claim needs {task} under {softmax}, which the preset {self.preset.name} does not have")

    def arms(self, *names: str) -> list[Arm]:
        """These optimizers with the preset's settings."""
        return [Arm(name, registry.parse(name, self.preset.optimizers)) for name in names]

    def claim(self, name: str, statement: str, source: str, baseline: Arm, candidate: Arm, **details: object) -> Claim:
        """A claim on the preset's model, with the details that differ from the preset's."""
        preset = self.preset
        settings: dict[str, object] = {
            "cells": self.cells,
            "model": preset.model,
            "criterion": preset.criterion,
            "batch": preset.batch,
            "replicas": preset.replicas if self.replicas is None else self.replicas,
            "sequential": self.sequential,
            "family": None if "cells" in details else self.family,
            "pools": 1 if "cells" in details else self.pools,
            "asserted": name in preset.asserted,
            **details,
        }
        return Claim(name, statement, source, baseline, candidate, **settings)  # type: ignore[arg-type]
