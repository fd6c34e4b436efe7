"""Modules all at once, by `torch.func.vmap`, against one by one: epochs of training, without evaluation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from measure import Race

from grokbench.claims import presets
from grokbench.engine.kinds import obstacle
from grokbench.engine.modules import ModuleEnsemble
from grokbench.engine.vmapped import VmappedEnsemble

REPLICAS = 16


@pytest.mark.parametrize("model", ["mlp(width=64, depth=1)", "mlp(width=256, depth=1)", "mlp(width=128, depth=2)"])
def test_modules(race: Race, model: str) -> None:
    run = presets.get("smoke", model, None).run("add", optimizer="adamw", replica=0)
    assert obstacle(run, race.device) is None
    together, alone = (kind(run, REPLICAS, race.device) for kind in (VmappedEnsemble, ModuleEnsemble))
    for stack in (together, alone):
        for slot in range(REPLICAS):
            stack.load(slot, replace(run, replica=slot))
    batch = min(run.batch, run.task.train_rows)
    race(
        together.train,
        alone.train,
        name="one by one",
        dtype=torch.float32,
        shapes={"batch": (REPLICAS, batch, run.task.positions)},
        counts={"replica_steps": REPLICAS * (run.task.train_rows // batch)},
        scale=1,
    )
