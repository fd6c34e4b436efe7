"""A grid of rates and weight decays as replicas of one pack, and the map of the grok time over it."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from grokbench.claims import cells_of, presets
from grokbench.claims.protocols import Grid
from grokbench.cli.common import HELD, declared, import_from_here, output, training_options
from grokbench.records.store import Record, Store
from grokbench.spec import OptimizerSpec, RunSpec, UsageError, choose, registry
from grokbench.training.trainer import Trainer


def grid_of(texts: list[str], preset: presets.Preset, replicas: int | None) -> Grid:
    """The preset's grid, with what `lr=…` and `weight_decay=…` say instead. Raises `UsageError` for anything else."""
    grid = preset.grid
    for text in texts:
        name, _, values = text.partition("=")
        choose("key of the grid", name, ("lr", "weight_decay"))
        try:
            numbers = tuple(float(value) for value in values.split(","))
        except ValueError:
            raise UsageError(f"cannot read the grid {text!r}: write it as {name}=0.01,0.1") from None
        points = tuple(dict.fromkeys(numbers))
        grid = grid._replace(lr=points) if name == "lr" else grid._replace(weight_decay=points)
    if replicas is not None:
        if not 1 <= replicas <= 1000:
            raise UsageError(f"replicas must be at least 1 and at most 1000, not {replicas}")
        grid = grid._replace(replicas=tuple(range(grid.replicas[0], grid.replicas[0] + replicas)))
    return grid


def add(commands: Any) -> None:
    """The command's parser."""
    from grokbench.options import DEFAULT_PRESET

    parser = commands.add_parser("sweep", help="the map of the grok time over rate and weight decay")
    parser.set_defaults(action=run)
    parser.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME", help="smoke, ci or paper (default: ci)")
    parser.add_argument("--task", default="add", metavar="NAME", help="a task of the preset (default: add)")
    parser.add_argument("--softmax", default="softmax", metavar="NAME", help="a softmax (default: softmax)")
    declared(parser, "model")
    parser.add_argument("--optimizer", default="adamw", metavar="SPEC", help="as for run (default: adamw)")
    grid = "lr=0.01,0.02 weight_decay=0.1,1 (default: the preset's)"
    parser.add_argument("--grid", nargs="+", default=[], metavar="KEY=VALUES", help=grid)
    parser.add_argument("--replicas", type=int, metavar="N", help="replicas at each point (default: 2)")
    training_options(parser, "the map")


def run(options: argparse.Namespace) -> int:
    """Train the grid and print its map."""
    from grokbench.records import files
    from grokbench.report import progress

    import_from_here()
    preset = presets.get(options.preset, options.model)
    ((task, softmax),) = cells_of(preset, [options.task], [options.softmax])
    grid = grid_of(options.grid, preset, options.replicas)
    optimizer = registry.parse(options.optimizer, preset.optimizers)
    runs = {
        setting: [
            RunSpec(task, softmax, preset.model, setting, preset.criterion, preset.batch, replica)
            for replica in grid.replicas
        ]
        for setting in grid.settings(optimizer)
    }
    with (
        progress.watching() as listener,
        Store(options.store, write=None) as store,
        Trainer(store, options.device, options.threads, listener=listener) as trainer,
    ):
        records = trainer.train([run for own in runs.values() for run in own])
    rows = [_point(setting, [records[run.digest] for run in own], preset) for setting, own in runs.items()]
    output(options.json).write(_map(f"{optimizer.name} on {task.name} under {softmax}", grid, rows))
    if options.json:
        files.write_line(options.json, {"points": rows})
    return HELD


def _point(setting: OptimizerSpec, records: list[Record], preset: presets.Preset) -> dict[str, object]:
    epochs = [record.time.epoch for record in records]
    times = [epoch or preset.criterion.budget + 1 for epoch in epochs]
    return {
        "lr": setting["lr"],
        "weight_decay": setting["weight_decay"],
        "optimizer": str(setting),
        "replicas": len(records),
        "grokked": sum(epoch is not None for epoch in epochs),
        "restricted_mean": float(np.exp(np.mean(np.log(times)))),
        "runs": [record.digest for record in records],
    }


def _map(title: str, grid: Grid, rows: list[dict[str, object]]) -> str:
    """Restricted geometric mean grok times in epochs, and the share that grokked."""
    found = {(row["lr"], row["weight_decay"]): row for row in rows}
    best = min(float(str(row["restricted_mean"])) for row in rows)
    lines = [
        title,
        "Geometric mean of the grok times in epochs, and how many grokked. Never counts as the budget + 1.",
        "",
    ]
    lines.append(f"{'lr, weight decay':>18}" + "".join(f"{decay:>16g}" for decay in grid.weight_decay))
    for lr in grid.lr:
        cells = []
        for decay in grid.weight_decay:
            row = found[lr, decay]
            mean = float(str(row["restricted_mean"]))
            cells.append(f"{mean:.0f}{'*' * (mean == best)} {row['grokked']}/{row['replicas']}")
        lines.append(f"{lr:>18g}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join([*lines, "", "* the earliest"]) + "\n"
