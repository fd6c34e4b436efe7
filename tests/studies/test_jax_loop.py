"""The training in JAX that throughput is measured against is the plain module's."""

from __future__ import annotations

import dataclasses
import importlib

import numpy as np
import pytest
import reference
import torch
from ensembles import GATED, PLAIN, a_run

from grokbench.models.module import initial
from grokbench.numerics import rng

EPOCHS = 4  # of six steps


@pytest.mark.slow
@pytest.mark.parametrize("model", [PLAIN, GATED], ids=["plain", "gated"])
@pytest.mark.parametrize("optimizer", ["adamw(lr=0.003)", "muon(lr=0.02, adamw_lr=0.003)"])
def test_it_trains_as_a_plain_module_does_in_float64(optimizer, model, benchmarks):
    jax = pytest.importorskip("jax", reason="jax is not installed")
    model = dataclasses.replace(model, dtype="float64", dropout=0.0)
    run = a_run(model, optimizer)
    runs = [dataclasses.replace(run, replica=replica) for replica in range(2)]
    keys = torch.stack([rng.key_tensor(one.key) for one in runs])
    with jax.enable_x64(True):
        trainer = importlib.import_module("jax_loop").Trainer(run, 2)
        losses = []
        for epoch in range(EPOCHS):
            at = torch.full((2,), epoch)
            order = rng.permutation(keys, rng.Stream.ORDER, at, run.task.train_rows)
            losses.append(np.asarray(trainer.train(order.numpy())))
        weights = {name: np.asarray(value) for name, value in trainer.state[0].items()}
    for replica, one in enumerate(runs):
        start = {name: view[0] for name, view in initial(model, run.task, one.key).views.items()}
        module, expected = reference.train(one, start, EPOCHS)
        np.testing.assert_allclose(np.array(losses)[:, replica], expected, rtol=1e-9)
        for name, weight in module.state_dict().items():
            assert np.linalg.norm(weights[name][replica] - weight.numpy()) <= 1e-9 * float(weight.norm()), name
