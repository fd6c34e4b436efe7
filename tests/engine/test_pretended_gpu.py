"""The engine on a pretended GPU: no tensor is on the wrong device, the numbers are the processor's, few waits."""

from __future__ import annotations

import dataclasses
import importlib

import pytest
import tiny
import torch
from ensembles import CPU, GATED, OPTIMIZERS, PLAIN, PLUG_IN, a_run, state
from pretend_cuda import NAME, PretendedCuda

from grokbench.cli import failures
from grokbench.engine import sizing
from grokbench.engine.ensemble import Ensemble
from grokbench.engine.pack import Pack
from grokbench.engine.sizing import PackSize
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


class Forgetful:
    """torch, but what it makes is on the processor, whatever device was asked for."""

    def __getattr__(self, name):
        make = getattr(torch, name)
        if name not in ("zeros", "full", "arange", "zeros_like", "full_like"):
            return make

        def made(*arguments, device=None, **settings):
            return make(*(a.cpu() if isinstance(a, torch.Tensor) else a for a in arguments), **settings)

        return made


def lost(function):
    """The function, with its result moved to the processor."""
    return lambda *arguments, **settings: function(*arguments, **settings).cpu()


# Modules that make tensors themselves, and functions that those of the other modules come from or go through.
MAKERS = ("engine.ensemble", "models.prefixes", "numerics.rng", "optim.filters", "optim.stack", "softmaxes.sparsemax")
THROUGH = (
    *(("models.transformer", name) for name in ("gather", "rms_norm", "linear", "_table_scores", "attend")),
    *(("models.transformer", name) for name in ("_rotate", "feed_forward")),
    ("engine.ensemble", "forward"),
    *(("optim.muon", "orthogonalize"), ("optim.newton_schulz", "_factor"), ("softmaxes.sparsemax", "sparsemax")),
)


@pytest.mark.parametrize(("name", "attribute"), [*((name, "torch") for name in MAKERS), *THROUGH])
def test_a_tensor_left_on_the_processor_is_found_in_each_module(name, attribute, monkeypatch):
    module = importlib.import_module(f"grokbench.{name}")
    run = a_run(SMALL, "muon(lr=0.02, adamw_lr=0.003, ns_steps=1, filter='grokfast')", "sparsemax", p=3, batch=4)
    there = getattr(module, attribute)
    monkeypatch.setattr(module, attribute, Forgetful() if attribute == "torch" else lost(there))
    with PretendedCuda(), pytest.raises(RuntimeError, match="tensors on cuda:0 and on cpu"):
        loaded([run], GPU).train()


def test_and_without_one_nothing_is_found():
    run = a_run(SMALL, "muon(lr=0.02, adamw_lr=0.003, ns_steps=1, filter='grokfast')", "sparsemax", p=3, batch=4)
    with PretendedCuda():
        assert loaded([run], GPU).train().isfinite().all()


RECORDED = [
    ("muon(lr=0.02, adamw_lr=0.003, filter='grokfast')", "sparsemax"),
    ("adamw(lr=0.003, filter='orthograd')", "stablemax"),
]


@pytest.mark.parametrize(("optimizer", "softmax"), RECORDED)
def test_a_recorded_epoch_is_the_same_epoch(optimizer, softmax):
    """Bit by bit: with refills, a slot that diverges, and evaluations in between."""
    runs = [a_run(SMALL, optimizer, softmax, replica, p=5, batch=8) for replica in range(4)]

    def history(graphs: bool) -> list[object]:
        ensemble = Ensemble(runs[0], 3, GPU, graphs=graphs)
        for slot in range(3):
            ensemble.load(slot, runs[slot])
        seen: list[object] = []
        for epoch in range(4):
            if epoch == 2:
                ensemble.load(0, runs[3])
                ensemble._weights.flat[2] = torch.nan
            losses, probes = ensemble.advance(4)
            seen += [losses, *probes["train"], *probes["validation"], *ensemble.measure([1], "validation")]
        return [*seen, ensemble.train().cpu(), state(ensemble, 0).cpu(), state(ensemble, 1).cpu()]

    with PretendedCuda() as gpu:
        plain = history(graphs=False)
        assert gpu.graphs == []
        recorded = history(graphs=True)
        assert len(gpu.graphs) == 2  # `advance` and `measure`; `train` was called but once
    for one, other in zip(plain, recorded, strict=True):
        assert str(torch.as_tensor(one).tolist()) == str(torch.as_tensor(other).tolist())  # also where both are NaN


def test_an_epoch_is_one_launch_and_one_wait():
    with PretendedCuda() as gpu:
        pack = Pack(PackSize(2, fixed=True, compiled=False))
        runs = [a_run(SMALL, "adamw(lr=0.0)", replica=replica, p=19, batch=256) for replica in range(2)]  # never learn
        pack.queue = {run.digest: run for run in runs}
        pack.take(runs, GPU)
        for epoch in range(1, 5):
            gpu.calls.clear()
            gpu.waits = 0
            pack.epoch()
            assert gpu.waits == 1
            if epoch > 2:
                assert dict(gpu.calls) == {"aten.graph": 1, "aten.clone.default": 1}  # and the copy of what it gives
        assert gpu.graphs[0].nodes > 100


def test_what_cannot_be_recorded_is_said_and_launched_step_by_step(monkeypatch):
    run = a_run(SMALL, p=5)
    with PretendedCuda() as gpu:
        expected = [loaded([run], GPU).train().tolist()]
        step = Ensemble._step
        monkeypatch.setattr(Ensemble, "_step", lambda self, batch: (self._steps.tolist(), step(self, batch))[1])
        ensemble = loaded([run], GPU)
        assert ensemble.train().tolist() == expected[0]
        with pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph, and is launched step by step"):
            ensemble.train()
        ensemble.train()  # nor is it tried again
        assert len(gpu.graphs) == 1
    with PretendedCuda() as gpu:
        ensemble = loaded([a_run(SMALL, PLUG_IN, p=5)], GPU)
        for _ in range(3):
            ensemble.train()
        assert gpu.graphs == []  # foreign code may do anything


@pytest.mark.parametrize(
    ("optimizer", "kernels", "most"),
    [(OPTIMIZERS[0], False, 160), (OPTIMIZERS[1], False, 240), (OPTIMIZERS[0], True, 43), (OPTIMIZERS[1], True, 59)],
)
def test_launches_of_a_step_grow_no_further(optimizer, kernels, most):
    """Of a model of one layer without dropout, as in `ci`."""
    if kernels:
        pytest.importorskip("triton", reason="triton is not installed")
    with PretendedCuda(kernels=kernels) as gpu:
        ensemble = loaded([a_run(SMALL, optimizer, p=5, batch=4)], GPU)
        ensemble.train()
        (batch,) = ensemble._batches(ensemble._train[:, :4])
        gpu.calls.clear()
        ensemble._step(batch)
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


def test_a_gpu_without_memory_gets_fewer_slots_and_then_is_the_machines_failure(tmp_path, monkeypatch):
    runs = [tiny.a_run(replica, "adamw(lr=0.02)", budget=2) for replica in range(3)]
    monkeypatch.setitem(sizing.MOST, "cuda", 4)
    epoch, room = Ensemble._train_epoch, 2

    def limited(self):
        if self.slots > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return epoch(self)

    monkeypatch.setattr(Ensemble, "_train_epoch", limited)
    with PretendedCuda(), Store(tmp_path / "runs.sqlite") as store:
        executor = Executor(store, "cuda")
        assert len(executor.records(runs[:2])) == 2
        room = 0
        with pytest.raises(torch.OutOfMemoryError) as failed:
            executor.records(runs)
        assert len(store.get([run.digest for run in runs])) == 2  # what was finished is kept, the other not invented
    assert failures.explained(failed.value, trains=True)[0] == 4


def test_a_lost_gpu_is_the_machines_failure():
    error = torch.AcceleratorError("CUDA error: unspecified launch failure")
    code, text = failures.explained(error, trains=True)
    assert code == 4
    assert text.startswith("the machine failed: ")
    assert text.endswith("finished runs are in the store")
