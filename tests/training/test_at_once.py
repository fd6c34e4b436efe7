"""Packs that train at once on a GPU: the same records, and fewer of them where memory is short."""

from __future__ import annotations

import pytest
import torch
from ensembles import DEVICES
from tiny import a_run

from grokbench import engine
from grokbench.engine import sizing
from grokbench.engine.ensemble import Ensemble
from grokbench.engine.pack import Pack
from grokbench.records.store import Store
from grokbench.training.local import Executor


@pytest.fixture
def store(tmp_path):
    with_leases = Store(tmp_path / "store.sqlite")
    yield with_leases
    with_leases.close()


@pytest.fixture
def at_once(monkeypatch):
    """How many packs of two slots were launched when a GPU was first waited for, in every round."""
    monkeypatch.setitem(sizing.MOST, "cuda", 2)
    rounds, launch, epoch = [0], Pack.launch, Pack.epoch
    waiting = set()

    def launched(pack):
        launch(pack)
        waiting.add(pack)
        rounds[-1] = max(rounds[-1], len(waiting))

    def waited(pack):
        waiting.discard(pack)
        if not waiting:
            rounds.append(0)
        return epoch(pack)

    monkeypatch.setattr(Pack, "launch", launched)
    monkeypatch.setattr(Pack, "epoch", waited)
    return rounds


on_gpus = pytest.mark.parametrize("device", DEVICES[1:], indirect=True)
MANY = [a_run(r, "adamw(lr=0.02)", budget=2) for r in range(3)] + [a_run(0, "adamw(lr=0.02)", task=1, budget=2)]


@on_gpus
def test_packs_that_train_at_once_change_no_record(store, tmp_path, device, at_once, monkeypatch):
    together = Executor(store, "cuda").records(MANY)
    assert at_once[0] == 3  # two of one shape, one of another
    at_once[:] = [0]
    monkeypatch.setitem(sizing.AT_ONCE, "cuda", 1)
    with Store(tmp_path / "alone.sqlite") as other:
        alone = Executor(other, "cuda").records(MANY)
    assert max(at_once) == 1
    for digest, record in alone.items():
        assert record.trace == together[digest].trace
        assert record.time == together[digest].time


@pytest.mark.slow
@on_gpus
def test_no_more_packs_train_at_once_than_memory_holds(store, device, at_once, monkeypatch):
    room = 2 * sizing.pack_size(MANY[0], "cuda").bytes
    monkeypatch.setattr(sizing, "room", lambda device: room)
    assert len(Executor(store, "cuda").records(MANY)) == len(MANY)
    assert max(at_once) == 2


@on_gpus
@pytest.mark.parametrize(
    ("home", "name"), [(Ensemble, "launch"), pytest.param(engine.pack, "advanced", marks=pytest.mark.slow)]
)
def test_without_memory_fewer_packs_train_at_once_before_slots_are_given_up(
    store, device, at_once, monkeypatch, home, name
):
    there, calls, train, slots = getattr(home, name), [], Ensemble._train_epoch, set()

    def greedy(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("planted")
        return there(*arguments)

    monkeypatch.setattr(home, name, greedy)
    monkeypatch.setattr(Ensemble, "_train_epoch", lambda self: (slots.add(self.slots), train(self))[1])
    executor = Executor(store, "cuda")
    assert len(executor.records(MANY)) == len(MANY)
    assert executor._at_once == 2
    assert slots == {2}
