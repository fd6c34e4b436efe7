"""What only a GPU can do wrong: tensors on the wrong device, graphs, launches and waits; on a pretended one.

That the numbers are right there, the tests with the fixture `device` tell.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from types import SimpleNamespace

import pytest
import tiny
import torch
from ensembles import OPTIMIZERS, PLAIN, PLUG_IN, TINY, a_run, ensemble_of, state
from pretend_cuda import NAME, PretendedCuda

from grokbench.cli import failures
from grokbench.engine import data, sizing, vmapped
from grokbench.engine.ensemble import Ensemble
from grokbench.engine.pack import Pack
from grokbench.engine.sizing import PackSize
from grokbench.records.store import Store
from grokbench.softmaxes import softmax, softmax_loss
from grokbench.spec import UsageError
from grokbench.spec.model import parse
from grokbench.spec.registry import parse as optimizer
from grokbench.training.local import Executor

GPU = torch.device("cuda")


@pytest.mark.parametrize("name", ["_epochs", "_keys", "_labels", "_train"])
def test_a_tensor_on_the_wrong_device_is_found(name):
    with PretendedCuda():
        ensemble = ensemble_of([a_run(TINY, p=5)], GPU)
        setattr(ensemble, name, getattr(ensemble, name).cpu())
        with pytest.raises(RuntimeError, match="tensors on cuda:0 and on cpu"):
            ensemble.train()


class Forgetful:
    """torch, but what it makes is on the processor, whatever device was asked for."""

    def __getattr__(self, name):
        make = getattr(torch, name)
        if name not in ("zeros", "ones", "full", "arange", "zeros_like", "full_like"):
            return make

        def made(*arguments, device=None, **settings):
            return make(*(a.cpu() if isinstance(a, torch.Tensor) else a for a in arguments), **settings)

        return made


def forgets(module):
    return Forgetful()


def lost(function):
    """The function, with its result moved to the processor."""
    return lambda *arguments, **settings: function(*arguments, **settings).cpu()


def misled(function):
    """An optimizer's update that is given its rates on the processor."""
    return lambda *arguments: function(*(a.cpu() if i == RATES else a for i, a in enumerate(arguments)))


def stays(function):
    """A function whose result cannot be moved."""

    def made(*arguments):
        module = function(*arguments)
        module.to = lambda *where: module
        return module

    return made


class ElsewhereParameters:
    """torch.nn, whose parameters stay on the processor."""

    @staticmethod
    def Parameter(data):  # noqa: N802
        return torch.nn.Parameter(data.cpu())


RATES = 5  # the place of the rates among an update's arguments
MUON = "muon(lr=0.02, adamw_lr=0.003, ns_steps=1, filter='grokfast')"
USUAL = a_run(TINY, MUON, "sparsemax", p=3, batch=4)
MODULE = dataclasses.replace(USUAL, model=parse("modules:Plain", PLAIN))
# Of each module: what it makes tensors with, or a function that they come from or go through.
PLANTED = [
    *((USUAL, f"{name}.torch", forgets) for name in ("engine.ensemble", "models.prefixes", "numerics.rng")),
    *((USUAL, f"{name}.torch", forgets) for name in ("optim.filters", "optim.stack", "softmaxes.sparsemax")),
    *((USUAL, f"models.transformer.{name}", lost) for name in ("gather", "rms_norm", "linear", "_table_scores")),
    *((USUAL, f"models.transformer.{name}", lost) for name in ("attend", "_rotate", "feed_forward")),
    (USUAL, "engine.ensemble.forward", lost),
    (USUAL, "optim.muon.orthogonalize", lost),
    (USUAL, "optim.newton_schulz._factor", lost),
    (USUAL, "optim.adamw.update", misled),
    (USUAL, "softmaxes.sparsemax.sparsemax", lost),
    (dataclasses.replace(USUAL, softmax="softmax"), "softmaxes.softmax.F.cross_entropy", lost),
    (dataclasses.replace(USUAL, softmax="stablemax"), "softmaxes.stablemax._log_s", lost),
    (dataclasses.replace(USUAL, optimizer=optimizer("sgd(lr=0.1)")), "optim.sgd.update", misled),
    (dataclasses.replace(USUAL, optimizer=optimizer(PLUG_IN)), "optim.adapter.nn", lambda nn: ElsewhereParameters),
    (MODULE, "engine.modules.torch", forgets),
    (MODULE, "engine.modules.make", stays),
    (MODULE, "engine.modules.data.generate", lambda generate: lambda task: Staying(*generate(task))),
]


class Staying(data.TaskData):
    """Questions and answers that cannot be moved."""

    @property
    def tokens(self):
        tokens = super().tokens.clone()
        tokens.to = lambda *where: tokens
        return tokens


MIXED_UP = "tensors on cuda:0 and on cpu"


@pytest.mark.parametrize(("run", "place", "fault"), [pytest.param(*case, id=case[1]) for case in PLANTED])
def test_a_tensor_left_on_the_processor_is_found_in_each_module(run, place, fault, monkeypatch):
    *way, attribute = place.split(".")
    home = importlib.import_module(f"grokbench.{'.'.join(way[:2])}")
    for name in way[2:]:
        home = getattr(home, name)
    monkeypatch.setattr(home, attribute, fault(getattr(home, attribute)))
    with PretendedCuda(), pytest.raises((RuntimeError, UsageError), match=MIXED_UP):
        ensemble_of([run], GPU).train()


@pytest.mark.parametrize("run", dict.fromkeys(run for run, _, _ in PLANTED))
def test_and_without_one_nothing_is_found(run):
    with PretendedCuda():
        assert ensemble_of([run], GPU).train().isfinite().all()


def test_so_it_is_in_modules_that_go_all_at_once(monkeypatch):
    """There a trial would find it first, and train them one by one."""
    run = dataclasses.replace(USUAL, model=parse("mlp(width=16, depth=1)", PLAIN))
    with PretendedCuda():
        for made in (torch, Forgetful()):
            monkeypatch.setattr(vmapped, "torch", made)
            stack = vmapped.VmappedEnsemble(run, 1, GPU)
            stack.load(0, run)
            with contextlib.nullcontext() if made is torch else pytest.raises(RuntimeError, match=MIXED_UP):
                stack.train()


def test_so_it_is_in_the_division_of_a_task_and_in_a_pack(monkeypatch):
    with PretendedCuda():
        keys = torch.zeros(2, dtype=torch.int64, device=GPU)
        assert all(part.device == keys.device for part in data.split(USUAL.task, keys))
        pack = Pack(PackSize(1, fixed=True, compiled=False))
        pack.queue[USUAL.digest] = USUAL
        pack.take([USUAL], GPU)
        assert pack.epoch() == []
        pack._ensemble._labels = pack._ensemble._labels.cpu()
        pack._ensemble._recorded.clear()
        with pytest.raises(RuntimeError, match=MIXED_UP):
            pack.epoch()
        monkeypatch.setattr(data, "torch", Forgetful())
        with pytest.raises(RuntimeError, match=MIXED_UP):
            data.split(USUAL.task, keys)


RECORDED = [
    ("muon(lr=0.02, adamw_lr=0.003, filter='grokfast')", "sparsemax"),
    ("adamw(lr=0.003, filter='orthograd')", "stablemax"),
]


@pytest.mark.parametrize(("optimizer", "softmax"), RECORDED)
def test_a_recorded_epoch_is_the_same_epoch(optimizer, softmax):
    """Bit by bit: with refills, a slot that diverges, and evaluations in between."""
    runs = [a_run(TINY, optimizer, softmax, replica, p=5, batch=8) for replica in range(4)]

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
        runs = [a_run(TINY, "adamw(lr=0.0)", replica=replica, p=19, batch=256) for replica in range(2)]  # never learn
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
    run = a_run(TINY, p=5)
    with PretendedCuda() as gpu:
        expected = [ensemble_of([run], GPU).train().tolist()]
        step = Ensemble._step
        monkeypatch.setattr(Ensemble, "_step", lambda self, batch: (self._steps.tolist(), step(self, batch))[1])
        ensemble = ensemble_of([run], GPU)
        assert ensemble.train().tolist() == expected[0]
        with pytest.warns(UserWarning, match="cannot be recorded as a CUDA graph, and is launched step by step"):
            ensemble.train()
        ensemble.train()  # nor is it tried again
        assert len(gpu.graphs) == 1


OURS = SimpleNamespace(probabilities=softmax, loss=softmax_loss)
FOREIGN = [
    a_run(TINY, PLUG_IN, p=5),
    a_run(TINY, softmax=f"{__name__}:OURS", p=5),
    a_run(parse("mlp(width=16, depth=1)", PLAIN), p=5),
]


@pytest.mark.parametrize("run", FOREIGN, ids=["optimizer", "softmax", "model"])
def test_foreign_code_is_not_recorded(run):
    """It may do anything."""
    with PretendedCuda() as gpu:
        ensemble = ensemble_of([run], GPU)
        for _ in range(3):
            ensemble.train()
        assert gpu.graphs == []


@pytest.mark.parametrize(
    ("optimizer", "kernels", "most"),
    [(OPTIMIZERS[0], False, 160), (OPTIMIZERS[1], False, 240), (OPTIMIZERS[0], True, 43), (OPTIMIZERS[1], True, 59)],
)
def test_launches_of_a_step_grow_no_further(optimizer, kernels, most):
    """Of a model of one layer without dropout, as in `ci`."""
    if kernels:
        pytest.importorskip("triton", reason="triton is not installed")
    with PretendedCuda(kernels=kernels) as gpu:
        ensemble = ensemble_of([a_run(TINY, optimizer, p=5, batch=4)], GPU)
        ensemble.train()
        (batch,) = ensemble._batches(ensemble._train[:, :4])
        gpu.calls.clear()
        ensemble._step(batch)
        assert 0 < gpu.launches <= most


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
        records = executor.records(runs[:2])
        assert [record.provenance.device for record in records.values()] == [NAME, NAME]
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
