"""The executor: every run trained once, bit-identical in any company, and no failure of the machine is data."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from ensembles import seldom_pretended
from tiny import a_run

from grokbench.engine import sizing
from grokbench.engine.ensemble import Ensemble
from grokbench.records.grok import GrokDetector, Outcome, grok_time
from grokbench.records.store import Store
from grokbench.spec import UsageError
from grokbench.training.local import Executor

P = tiny.PRESET


@pytest.fixture
def store(tmp_path):
    with_leases = Store(tmp_path / "store.sqlite")
    yield with_leases
    with_leases.close()


@pytest.fixture
def few_slots(monkeypatch):
    """On a GPU, as few as the tests need."""
    monkeypatch.setitem(sizing.MOST, "cuda", 4)


@pytest.mark.parametrize("fixed", [False, True])
@seldom_pretended
def test_records_are_the_same_alone_and_through_slots_that_are_refilled_and_dropped(
    store, tmp_path, monkeypatch, fixed, device
):
    if device.type == "cuda" and not fixed:
        pytest.skip("on a GPU, an ensemble always has the same slots")
    runs = [a_run(r, budget=10 + 7 * (r % 3)) for r in range(7)] + [a_run(r, task=1) for r in range(3)]
    monkeypatch.setitem(sizing.MOST, "cuda", 3)
    with monkeypatch.context() as patch:
        patch.setattr(sizing, "pack_size", lambda run, device: sizing.PackSize(3, fixed, compiled=False))
        together = Executor(store, device.type).records(runs)
    for run in (runs[0], runs[4], runs[6], runs[9]):
        other = Store(tmp_path / f"{run.digest}.sqlite")
        alone = Executor(other, device.type).records([run])[run.digest]
        other.close()
        assert alone.time == together[run.digest].time
        assert alone.trace == together[run.digest].trace


@seldom_pretended
def test_grok_times_follow_from_the_stored_curves(store, device):
    runs = [a_run(r) for r in range(4)]
    records = Executor(store, device.type).records(runs)
    for run in runs:
        record = records[run.digest]
        assert record.time == grok_time(record.trace, run.criterion)
        assert record.time.epochs == len(record.trace.epoch)


def test_what_is_not_evaluated_cannot_change_a_grok_time(store):
    runs = [a_run(r, settle=4, hold=3) for r in range(2)]
    runs += [a_run(r, "adamw(lr=0.03)", task=1, softmax="sparsemax", train_threshold=0.9) for r in range(2)]
    records = Executor(store, "cpu").records(runs)
    for run in runs:
        ensemble = Ensemble(run, 1, torch.device("cpu"))
        ensemble.load(0, run)
        trace, detector, epoch, skipped = records[run.digest].trace, GrokDetector(run.criterion), 0, 0
        answered = False
        while not answered and epoch < run.criterion.budget:
            evaluation = ensemble.epoch()
            epoch += 1
            train, validation = float(evaluation.train_accuracy[0]), float(evaluation.validation_accuracy[0])
            answered = detector.update(epoch, train, validation)
            assert trace.train_accuracy[epoch - 1] in (train, pytest.approx(np.nan, nan_ok=True))
            assert trace.validation_accuracy[epoch - 1] in (validation, pytest.approx(np.nan, nan_ok=True))
            skipped += np.isnan(trace.train_accuracy[epoch - 1]) or np.isnan(trace.validation_accuracy[epoch - 1])
        assert records[run.digest].time == detector.result(epoch, diverged=False)
        assert skipped > epoch / 2


def test_what_is_in_the_store_is_not_trained_again(store, monkeypatch):
    runs = [a_run(r) for r in range(2)]
    first = Executor(store, "cpu").records(runs)
    monkeypatch.setattr(Ensemble, "train", lambda *_: pytest.fail("trained again"))
    again = Executor(store, "cpu")
    assert again.records(runs) == first
    assert again.progress().done == 2
    assert again.progress().trained == 0


def test_a_clock_that_is_set_back_loses_no_run(store):
    run, later = a_run(optimizer="sgd(lr=0.0)", budget=2), time.time() + 3600
    for _ in range(2):  # trained, and found again
        assert Executor(store, "cpu", since=later).records([run])[run.digest].finished == later


@seldom_pretended
def test_a_run_ends_as_soon_as_its_answer_is_known(store, device, few_slots):
    run = a_run(hold=2)
    time = Executor(store, device.type).records([run])[run.digest].time
    assert time.outcome is Outcome.GROKKED
    assert time.epochs == time.sustained + 2 < run.criterion.budget


@seldom_pretended
def test_only_a_run_that_used_its_whole_budget_is_censored(store, device, few_slots):
    run = a_run(optimizer="sgd(lr=0.0)", budget=5)
    time = Executor(store, device.type).records([run])[run.digest].time
    assert (time.outcome, time.epochs, time.epoch) == (Outcome.CENSORED, 5, None)


@seldom_pretended
def test_a_run_whose_loss_leaves_the_finite_numbers_has_diverged(store, device, few_slots):
    sick, healthy = a_run(optimizer="sgd(lr=1e30)"), a_run(optimizer="sgd(lr=0.1)", budget=5)
    records = Executor(store, device.type).records([sick, healthy])
    time = records[sick.digest].time
    assert (time.outcome, time.epoch) == (Outcome.DIVERGED, None)
    assert time.epochs < 5
    assert records[healthy.digest].time.outcome is Outcome.CENSORED


def test_free_slots_take_runs_that_are_needed_later(store):
    now, later = a_run(0), a_run(1)
    filling = Executor(store, "cpu")
    filling.need([now, later])
    filling.records([now])
    assert store.get([later.digest]) or any(r.run == later for r in filling.progress().running)


def test_without_fill_only_what_is_wanted_is_trained(store):
    now, later = a_run(0), a_run(1)
    sharing = Executor(store, "cpu", divided=True)
    sharing.need([now, later])
    sharing.records([now])
    assert not store.get([later.digest])
    assert not sharing.progress().running


@seldom_pretended
def test_progress_is_reported_after_every_epoch(store, device, few_slots):
    seen = []
    runs = [a_run(r, optimizer="sgd(lr=0.0)", budget=3) for r in range(2)]
    Executor(store, device.type, listener=seen.append).records(runs)
    assert [(p.wanted, p.done, len(p.running)) for p in seen] == [(2, 0, 2), (2, 0, 2), (2, 2, 0)]
    assert [r.epoch for r in seen[1].running] == [2, 2]


@pytest.mark.parametrize("error", [MemoryError("planted"), OSError(28, "No space left on device"), KeyboardInterrupt()])
@seldom_pretended
def test_a_failure_of_the_machine_is_raised_and_never_data(store, tmp_path, monkeypatch, error, device, few_slots):
    done, failing, queued = (a_run(r, budget=budget) for r, budget in ((0, 2), (1, 6), (2, 6)))
    executor = Executor(store, device.type)
    executor.need([done, failing, queued])
    executor.records([done])
    name = "_launch" if device.type == "cuda" else "_step"  # a graph that was recorded calls no step
    step, calls = getattr(Ensemble, name), iter([False] * 3)

    def fail_late(self, *arguments):
        if next(calls, True):  # on a processor, in the middle of an epoch
            raise error
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Ensemble, name, fail_late)
        with pytest.raises(type(error)):
            executor.records([failing, queued])
    assert list(store.get([done.digest, failing.digest, queued.digest])) == [done.digest]
    second = Store(store.path)
    assert second.claim(failing.digest)  # no lease is left behind
    second.close()
    after = executor.records([failing, queued])
    other = Store(tmp_path / "other.sqlite")
    undisturbed = Executor(other, device.type).records([failing, queued])
    other.close()
    assert all(after[d].trace == undisturbed[d].trace for d in undisturbed)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("planted"), MemoryError("planted"), RuntimeError("DefaultCPUAllocator: can't allocate")],
)
def test_out_of_memory_begins_anew_with_half_as_many_slots(store, tmp_path, monkeypatch, error):
    runs = [a_run(r, budget=3) for r in range(5)]
    train, sizes = Ensemble.train, []

    def greedy(self):
        sizes.append(self.slots)
        if self.slots > 1 and len(sizes) < 20:
            raise error
        return train(self)

    with monkeypatch.context() as patch:
        patch.setattr(Ensemble, "train", greedy)
        records = Executor(store, "cpu").records(runs)
    assert sizes[:3] == [5, 2, 1]
    other = Store(tmp_path / "undisturbed.sqlite")
    undisturbed = Executor(other, "cpu").records(runs)
    other.close()
    assert all(records[d].trace == undisturbed[d].trace for d in undisturbed)


@pytest.mark.parametrize("error", [sqlite3.OperationalError("database is locked"), MemoryError("planted")])
def test_a_record_that_cannot_be_stored_is_trained_again(store, monkeypatch, error):
    runs = [a_run(r, "sgd(lr=0.0)", budget=3) for r in range(4)]
    executor = Executor(store, "cpu")
    put, calls = Store.put, iter([False, True])

    def full(self, *arguments):
        if next(calls, False):
            raise error
        put(self, *arguments)

    monkeypatch.setattr(Store, "put", full)
    with pytest.raises(type(error)):
        executor.records(runs)
    assert len(executor.records(runs)) == 4


def test_a_slot_that_is_free_is_left_alone(store, monkeypatch):
    monkeypatch.setattr(sizing, "pack_size", lambda run, device: sizing.PackSize(2, fixed=True, compiled=False))
    steps = P.tasks[0].train_rows // P.batch
    short, long = (a_run(0, f"plugins:FailsAfter(steps={steps * b}, lr=0.0)", budget=b, settle=9) for b in (3, 5))
    assert len(Executor(store, "cpu").records([short, long])) == 2


def test_memory_that_an_ensemble_cannot_even_begin_with_halves_it_too(store, monkeypatch):
    runs = [a_run(r, budget=3) for r in range(5)]
    load, loads = Ensemble.load, []

    def greedy(self, slot, run):
        loads.append(self.slots)
        if self.slots > 2:
            raise torch.OutOfMemoryError("planted")
        load(self, slot, run)

    monkeypatch.setattr(Ensemble, "load", greedy)
    assert len(Executor(store, "cpu").records(runs)) == 5
    assert max(loads) == 5
    assert store._db.execute("SELECT count(*) FROM leases").fetchone() == (0,)


def test_an_optimizer_that_cannot_be_made_is_refused_each_time_it_is_asked_for(store):
    executor = Executor(store, "cpu")
    for _ in range(2):
        with pytest.raises(UsageError, match="the optimizer plugins:RaisesAtOnce could not be made"):
            executor.records([a_run(0, "plugins:RaisesAtOnce"), a_run(1, "plugins:RaisesAtOnce")])


@seldom_pretended
def test_a_plug_in_that_cannot_bear_what_is_not_finite_has_diverged(store, device, few_slots):
    run = a_run(0, "plugins:Fragile(lr=1e30)")
    assert Executor(store, device.type).records([run])[run.digest].time.outcome is Outcome.DIVERGED


def test_an_unknown_device_is_refused(store):
    with pytest.raises(UsageError, match="unknown device 'tpu': choose from auto, cpu, cuda"):
        Executor(store, "tpu")


def halves(path):
    """Train 24 runs, or what another process leaves of them; how many it was."""
    with Store(path) as store:
        sharing = Executor(store, "cpu", divided=True)
        for task in range(2):
            for half in range(2):
                sharing.records([a_run(r, task=task, budget=20) for r in range(6 * half, 6 * half + 6)])
        return sharing.progress().trained


@pytest.mark.slow
def test_processes_that_share_a_store_train_nothing_twice(tmp_path):
    path = tmp_path / "shared.sqlite"
    folders = os.pathsep.join(str(folder) for folder in (Path(__file__).parents[1], Path(__file__).parent))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([folders, os.environ.get("PYTHONPATH", "")])}
    code = "import sys, test_local; print(flush=True); print(test_local.halves(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(path)]
    other = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert other.stdout
    assert other.stdout.readline() == "\n"  # it begins now
    here = halves(path)
    assert here + int(other.communicate(timeout=100)[0]) == 24
    with Store(path) as shared:
        runs = [a_run(r, task=t, budget=20) for r in range(12) for t in range(2)]
        assert len(shared.get(run.digest for run in runs)) == 24
