"""What makes an ensemble fast, each move alone: the same epoch of training with it, and without it as reference."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
import work
from measure import Race

from grokbench.engine import sizing
from grokbench.engine.ensemble import Ensemble
from grokbench.models import prefixes
from grokbench.spec import RunSpec

SHAPES = {"ci": ("ci", {}, 8), "paper without dropout": ("paper", {"dropout": 0.0}, 2)}


def loaded(run: RunSpec, replicas: int, race: Race, *, compile: bool = False) -> Ensemble:
    ensemble = Ensemble(run, replicas, race.device, compile=compile)
    for slot in range(replicas):
        ensemble.load(slot, replace(run, replica=slot))
    return ensemble


@pytest.mark.parametrize("shape", SHAPES)
def test_stacked_replicas(race: Race, shape: str) -> None:
    preset, changes, replicas = SHAPES[shape]
    run = work.preset_run(preset, "adamw", **changes)
    measure(race, run, replicas, loaded(run, replicas, race), loaded(run, 1, race), "one replica at a time", replicas)


@pytest.mark.parametrize("shape", SHAPES)
def test_tables(race: Race, shape: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of tokens, of beginnings and of products against states of every row; the last query alone in both."""
    preset, changes, replicas = SHAPES[shape]
    run = work.preset_run(preset, "adamw", **changes)
    ensemble = loaded(run, replicas, race)
    with monkeypatch.context() as patch:
        patch.setattr(prefixes, "_groups", lambda beginnings: torch.arange(len(beginnings)))
        general = loaded(run, replicas, race)
    measure(race, run, replicas, ensemble, general, "every row for itself")


@pytest.mark.parametrize("shape", SHAPES)
def test_compiled_step(race: Race, shape: str) -> None:
    if sizing.compiler(race.device.type) is None:
        pytest.skip("no compiler")
    preset, changes, replicas = SHAPES[shape]
    run = work.preset_run(preset, "adamw", **changes)
    race.bound(replicas * work.plain_epoch(run))
    ensemble = loaded(run, replicas, race, compile=True)
    began = time.perf_counter()
    ensemble.train()
    first = time.perf_counter() - began
    measure(race, run, replicas, ensemble, loaded(run, replicas, race), "the eager step")
    race.note(first_epoch_seconds=first)


def measure(
    race: Race,
    run: RunSpec,
    replicas: int,
    ensemble: Ensemble,
    reference: Ensemble,
    name: str,
    scale: int = 1,
) -> None:
    """Time an epoch of training with a move and without it."""
    race.bound(replicas * work.plain_epoch(run))
    race(
        ensemble.train,
        reference.train,
        name=name,
        dtype=getattr(torch, run.model.dtype),
        shapes={"batch": (replicas, run.batch, run.task.positions)},
        counts={"replica_steps": replicas * work.steps(run)},
        scale=scale,
    )
