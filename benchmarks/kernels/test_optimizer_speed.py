"""One step of E replicas by one stacked optimizer, against one of torch's optimizers for each replica."""

from __future__ import annotations

from dataclasses import replace

import plain
import pytest
import torch
import work
from measure import Race
from torch import nn

from grokbench.models.transformer import Stack, layout
from grokbench.optim.stack import Optimizer

# How torch's optimizer works through the parameters of one replica.
IMPLEMENTATIONS: dict[str, dict[str, bool]] = {
    "default": {},
    "for-loop": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
PAIRS = [("adamw", "for-loop"), ("adamw", "foreach"), ("adamw", "fused"), ("muon", "default"), ("sgd", "default")]


@pytest.mark.parametrize("replicas", [1, 4, 16])
@pytest.mark.parametrize("preset", ["ci", "paper"])
@pytest.mark.parametrize(("optimizer", "implementation"), PAIRS)
def test_step(race: Race, optimizer: str, implementation: str, preset: str, replicas: int) -> None:
    run = work.preset_run(preset, optimizer)
    slices = layout(run.transformer, run.task.vocabulary, run.task.classes)
    matrices = [(s.shape[0], s.shape[1]) for s in slices if s.hidden and optimizer == "muon"]
    flops = replicas * sum(work.newton_schulz(*shape, steps=run.optimizer["ns_steps"]) for shape in matrices)
    race.bound(flops)

    size = max(s.offset + s.size for s in slices)
    weights, gradients = (Stack(slices, 0.1 * torch.randn(replicas, size, device=race.device)) for _ in range(2))
    ours = Optimizer(run.optimizer, weights)
    theirs: list[torch.optim.Optimizer] = []
    for slot in range(replicas):
        ours.load(slot, replace(run, replica=slot))
        parameters = {s: nn.Parameter(weights.views[s.name][slot].clone()) for s in slices}
        for s, parameter in parameters.items():
            parameter.grad = gradients.views[s.name][slot].clone()
        hidden, others = ([p for s, p in parameters.items() if s.hidden == side] for side in (True, False))
        theirs += plain.optimizers(run.optimizer, hidden, others, **IMPLEMENTATIONS[implementation])

    def reference() -> None:
        for other in theirs:
            other.step()

    kind = type(theirs[0]).__name__ + (" and AdamW" if optimizer == "muon" else "")
    race(
        lambda: ours.step(gradients),
        reference,
        name=f"torch's {kind}, {implementation}, one for each replica",
        dtype=weights.flat.dtype,
        shapes={"weights": weights.flat.shape},
        counts={"replica_steps": replicas} | ({"flops": flops} if flops else {}),
    )
