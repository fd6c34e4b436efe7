"""Small runs, ensembles of them, and their weights as one vector."""

from __future__ import annotations

import pytest
import torch

from grokbench.engine.ensemble import Ensemble
from grokbench.engine.kinds import ensemble as make
from grokbench.spec import SOFTMAXES, GrokCriterion, ModelSpec, RunSpec, task
from grokbench.spec.registry import parse

PLAIN = ModelSpec(width=32, depth=1, heads=4, feed_forward=48)
TINY = ModelSpec(width=16, depth=1, heads=2, feed_forward=16)
GATED = ModelSpec(width=48, depth=2, heads=2, feed_forward=80, gated=True, dropout=0.1)
OPTIMIZERS = (
    "adamw(lr=0.003)",
    "muon(lr=0.02, adamw_lr=0.003)",
    "sgd(lr=0.05, weight_decay=0.01)",
)
PLUG_IN = "torch.optim:RAdam(lr=0.01, weight_decay=0.1)"
CPU = torch.device("cpu")
DEVICES = ("cpu", "pretended", pytest.param("cuda", marks=pytest.mark.gpu))  # see the fixture `device`
SLOWER = ("cpu", pytest.param("pretended", marks=pytest.mark.slow), DEVICES[-1])
seldom_pretended = pytest.mark.parametrize("device", SLOWER, indirect=True)
"""For a test that takes long on the pretended GPU, where a quicker one looks at the same code."""
MIXED = [
    (model, optimizer, SOFTMAXES[(i + j) % len(SOFTMAXES)])
    for i, optimizer in enumerate((*OPTIMIZERS, PLUG_IN))
    for j, model in enumerate((PLAIN, GATED))
]
"""Model, optimizer and softmax: each optimizer and each softmax with each model. They meet in the gradient alone."""


def a_run(model=PLAIN, optimizer=OPTIMIZERS[0], softmax="softmax", replica=0, name="add", p=11, batch=16) -> RunSpec:
    return RunSpec(task(name, p), softmax, model, parse(optimizer), GrokCriterion(50), batch, replica)


def ensemble_of(runs, device=CPU, slots=None) -> Ensemble:
    """These runs in the first of the slots. On a GPU, bits may depend on how many slots there are."""
    ensemble = make(runs[0], slots or len(runs), device)
    for slot, run in enumerate(runs):
        ensemble.load(slot, run)
    return ensemble


def state(ensemble: Ensemble, slot: int) -> torch.Tensor:
    """On the processor."""
    return torch.cat([w.flatten() for w in ensemble.weights(slot).values()]).cpu()
