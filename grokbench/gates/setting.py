"""Where two optimizers meet: cells of a preset, with a budget, on a device, from one store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grokbench.claims import Cell, cells_of, presets
from grokbench.claims.presets import Preset
from grokbench.spec import OptimizerSpec, RunSpec, UsageError

MOST_PAIRS = 1000
EPOCHS = 32  # of a golden trajectory
WHOLE = 2  # pairs in each cell that have to be equal from beginning to end, where the golden trajectories are


@dataclass(frozen=True)
class Setting:
    """cells of `preset`; budget in epochs; device: 'cpu' or 'cuda'; threads: see `Trainer`.

    model: as it was asked for, None for the preset's own.
    """

    preset: Preset
    cells: tuple[Cell, ...]
    budget: int
    device: str
    store: Path
    threads: int | None = None
    model: str | None = None

    def runs(self, cell: Cell, optimizer: OptimizerSpec, replicas: int) -> list[RunSpec]:
        """The first replicas of an optimizer in a cell."""
        p = self.preset
        return [RunSpec(cell.task, cell.softmax, p.model, optimizer, p.criterion, p.batch, r) for r in range(replicas)]


def setting_of(
    preset: str,
    tasks: Sequence[str],
    softmaxes: Sequence[str],
    budget: int | None,
    device: str,
    store: str | Path,
    threads: int | None,
    model: str | None = None,
) -> Setting:
    """Names, checked; empty ones for all that the preset has. Raises `UsageError` that lists the choices."""
    from grokbench.training.local import resolve_device

    chosen = presets.get(preset, model, budget)
    cells = cells_of(chosen, tasks, softmaxes)
    return Setting(
        chosen, cells, chosen.criterion.budget, resolve_device(device), Path(store).absolute(), threads, model
    )


def pairs_of(name: str, count: int) -> None:
    """Raises `UsageError` for a number of pairs that cannot be trained."""
    if not 1 <= count <= MOST_PAIRS:
        raise UsageError(f"{name} must be at least 1 and at most {MOST_PAIRS}, not {count}")
