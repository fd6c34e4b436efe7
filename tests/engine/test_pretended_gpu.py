"""The engine on a pretended GPU: no tensor is on the wrong device, the numbers are the processor's, few waits."""

from __future__ import annotations

import dataclasses

import pytest
import tiny
import torch
from ensembles import CPU, GATED, OPTIMIZERS, PLAIN, PLUG_IN, a_run, state
from pretend_cuda import NAME, PretendedCuda

from grokbench.engine.ensemble import Ensemble
from grokbench.records.store import Store
from grokbench.training.local import Executor

GPU = torch.device("cuda")
SMALL = dataclasses.replace(PLAIN, width=16, heads=2, feed_forward=16)
CASES = [
    ("adamw(lr=0.003, filter='orthograd')", "softmax", SMALL),
    (OPTIMIZERS[1], "stablemax", dataclasses.replace(GATED, width=16, feed_forward=16, depth=2)),
    ("sgd(lr=0.05, filter='grokfast')", "sparsemax", SMALL),
    (PLUG_IN, "softmax", SMALL),
]


def loaded(runs, device) -> Ensemble:
    ensemble = Ensemble(runs[0], len(runs), device)
    for slot, run in enumerate(runs):
        ensemble.load(slot, run)
    return ensemble


@pytest.mark.parametrize(("optimizer", "softmax", "model"), CASES)
def test_the_numbers_are_those_of_the_processor(optimizer, softmax, model):
    runs = [a_run(model, optimizer, softmax, replica, p=5) for replica in range(3)]

    def history(device):
        ensemble = loaded(runs[:2], device)
        evaluation = ensemble.epoch()
        ensemble.load(0, runs[2])  # a refill
        ensemble.train()
        return evaluation, ensemble.diagnose(1, 2), [state(ensemble, slot).cpu() for slot in range(2)]

    evaluation, diagnosis, weights = history(CPU)
    with PretendedCuda():
        found, state_there, weights_there = history(GPU)
    # Sparsemax finds its threshold by sorting on a GPU, which rounds otherwise.
    for ours, theirs in zip(evaluation, found, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-5)
    assert vars(state_there) == pytest.approx(vars(diagnosis), rel=1e-4)
    torch.testing.assert_close(weights_there, weights, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["_epochs", "_keys", "_labels", "_train"])
def test_a_tensor_on_the_wrong_device_is_found(name):
    with PretendedCuda():
        ensemble = loaded([a_run(SMALL, p=5)], GPU)
        setattr(ensemble, name, getattr(ensemble, name).cpu())
        with pytest.raises(RuntimeError, match="tensors on cuda:0 and on cpu"):
            ensemble.train()


def test_an_epoch_waits_once_for_its_losses_and_once_for_an_evaluation():
    with PretendedCuda() as gpu:
        ensemble = loaded([a_run(SMALL, p=5)], GPU)
        ensemble.train()
        gpu.waits = 0
        ensemble.train()
        assert gpu.waits == 0  # the losses are fetched by whoever wants them
        ensemble.measure([0], "train")
        assert gpu.waits == 1


@pytest.mark.parametrize(("optimizer", "most"), [(OPTIMIZERS[0], 200), (OPTIMIZERS[1], 280)])
def test_launches_of_a_step_grow_no_further(optimizer, most):
    with PretendedCuda() as gpu:
        ensemble = loaded([a_run(SMALL, optimizer, p=5, batch=4)], GPU)
        ensemble.train()
        rows = ensemble._train[:, :4]
        gpu.calls.clear()
        ensemble._step(rows)
        assert 0 < gpu.launches <= most


def test_a_run_is_trained_and_stored_there(tmp_path):
    run = tiny.a_run(optimizer="adamw(lr=0.02)", budget=3)
    store = Store(tmp_path / "cpu.sqlite")
    expected = Executor(store, "cpu").records([run])[run.digest]
    store.close()
    with PretendedCuda() as gpu:
        store = Store(tmp_path / "cuda.sqlite")
        record = Executor(store, "cuda").records([run])[run.digest]
        store.close()
    assert gpu.launches > 1000
    assert record.provenance.device == NAME
    assert record.time == expected.time
    assert record.trace.train_accuracy == pytest.approx(expected.trace.train_accuracy, nan_ok=True)
