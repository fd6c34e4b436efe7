"""The store gives back what was put in, bit by bit; and harms no file it does not own."""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from stored import MACHINE, STATES, TIME, spec, trace

from grokbench.records import store as store_module
from grokbench.records.grok import GrokTime, Outcome, Trace
from grokbench.records.store import APPLICATION_ID, Store
from grokbench.spec import MachineError, UsageError


def bits(curves: Trace) -> list[tuple[str, bytes]]:
    return [(array.dtype.str, array.tobytes()) for array in vars(curves).values()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


def test_a_record_comes_back_in_every_bit(path: Path) -> None:
    run, curves = spec(), trace()
    store = Store(path)
    assert store.get([run.digest]) == {}
    began = time.time()
    store.put(run, TIME, curves, STATES, 1.25, MACHINE)
    for reader in (store, Store(path)):
        found = reader.get([run.digest, "0" * 32])
        record = found[run.digest]
        assert list(found) == [run.digest]
        assert (record.digest, record.time, record.seconds, record.provenance) == (run.digest, TIME, 1.25, MACHINE)
        assert began <= record.finished <= time.time()
        assert bits(record.trace) == bits(curves)
        assert repr(record.diagnostics) == repr(STATES)
        reader.close()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), count=st.integers(0, 20))
def test_any_curves_come_back(path: Path, data: st.DataObject, count: int) -> None:
    accuracy = arrays.arrays(np.float64, count, elements=st.floats(0, 1))
    loss = arrays.arrays(np.float32, count, elements=st.floats(width=32))
    epoch = data.draw(arrays.arrays(np.int32, count))
    curves = Trace(epoch, *(data.draw(kind) for kind in (accuracy, accuracy, loss, loss)))
    store = Store(path)
    store.put(spec(), TIME, curves, STATES, 0.0, MACHINE)
    assert bits(store.get([spec().digest])[spec().digest].trace) == bits(curves)
    store.close()


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_and_what_was_not_reached(path: Path, outcome: Outcome) -> None:
    store = Store(path)
    store.put(spec(), GrokTime(outcome, 7), trace(7), (), 0.5, MACHINE)
    assert store.get([spec().digest])[spec().digest].time == GrokTime(outcome, 7)
    store.close()


def test_a_later_record_takes_the_place_of_an_earlier(path: Path) -> None:
    store = Store(path)
    store.put(spec(), TIME, trace(seed=1), STATES, 1.0, MACHINE)
    newer = dataclasses.replace(MACHINE, torch="2.16.0", device="NVIDIA H200", commit="abc", dirty=False)
    store.put(spec(), GrokTime(Outcome.CENSORED, 50), trace(50, seed=2), (), 2.0, newer)
    (record,) = store.get([spec().digest]).values()
    assert (record.time.outcome, record.seconds, record.provenance) == (Outcome.CENSORED, 2.0, newer)
    assert record.trace == trace(50, seed=2)
    store.close()


def test_records_older_than_asked_for_are_not_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(path)
    for replica, now in enumerate((100.0, 200.0, 300.0)):
        monkeypatch.setattr(store_module.time, "time", lambda now=now: now)
        store.put(spec(replica), TIME, trace(), STATES, 1.0, MACHINE)
    digests = [spec(replica).digest for replica in range(3)]
    assert list(store.get(digests, since=200.0)) == digests[1:]
    assert list(store.get(digests, since=200.5)) == digests[2:]
    assert list(store.get(digests)) == digests
    assert not store.claim(digests[0])
    assert not store.claim(digests[1], since=200.0)
    assert store.claim(digests[0], since=150.0)
    store.close()


def test_provenance_is_written_once(path: Path) -> None:
    store = Store(path)
    for replica in range(6):
        store.put(spec(replica), TIME, trace(), STATES, 1.0, dataclasses.replace(MACHINE, threads=1 + replica % 2))
    store.close()
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM provenance").fetchone() == (2,)
    assert db.execute("SELECT count(*) FROM runs").fetchone() == (6,)
    db.close()


NOT_OURS = "is not a grokbench store; it was left as it is"
FOREIGN = "is a database, but not a grokbench store; it was left as it is"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"my thesis\n" * 300, NOT_OURS),
        (b"x\n", NOT_OURS),
        (b"x", NOT_OURS),
        ("CREATE TABLE photos (name TEXT); INSERT INTO photos VALUES ('cat')", FOREIGN),
        ("PRAGMA application_id = 7", FOREIGN),
        ("PRAGMA user_version = 1", FOREIGN),
        (f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 999", "has schema 999, from a newer grokb"),
    ],
)
def test_a_file_that_is_not_ours_is_left_as_it_is(path: Path, content: bytes | str, message: str) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        db = sqlite3.connect(path)
        db.executescript(content)
        db.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match=message):
        Store(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    for write in (True, False):
        with pytest.raises(UsageError, match="is a folder: give a file as the store"):
            Store(tmp_path, write=write)
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_a_file_cannot_be_made(path: Path) -> None:
    path.write_text("a file")
    for below in (path / "store", path / "deeper" / "store"):
        with pytest.raises(UsageError, match=r"there is no folder .* for the store store: make it first"):
            Store(below)
    assert path.read_text() == "a file"


@pytest.mark.skipif(os.geteuid() == 0, reason="permission bits do not bind root")
def test_an_unwritable_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UsageError, match="cannot write the store"):
            Store(tmp_path / "store")
    finally:
        tmp_path.chmod(0o700)


def test_a_missing_folder_is_not_made_and_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no folder .*a/b for the store x\.sqlite: make it first"):
        Store(tmp_path / "a" / "b" / "x.sqlite")
    assert list(tmp_path.iterdir()) == []
    empty = tmp_path / "empty"
    empty.touch()
    Store(empty).close()
    Store(str(empty)).close()
    assert empty.stat().st_size > 0


def test_a_place_where_no_file_can_be_made_is_said_in_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"cannot (open|write) the store /proc/x\.sqlite"):  # as root or another user
        Store("/proc/x.sqlite")


def cut(path: Path) -> None:
    """Take the second half of a store away."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize("write", [True, False])
def test_a_store_that_fails_to_open_is_the_machines_affair(path: Path, write: bool, monkeypatch) -> None:
    with Store(path) as store:
        store.put(spec(), TIME, trace(), STATES, 1.25, MACHINE)
    monkeypatch.setattr(store_module, "BUSY_SECONDS", 0)
    locks = sqlite3.connect(path, isolation_level=None)
    locks.execute("BEGIN EXCLUSIVE")
    with pytest.raises(MachineError, match=r"cannot open the store .*: database is locked"):
        Store(path, write=write)
    locks.close()
    cut(path)
    with pytest.raises(MachineError, match=r"cannot open the store .*: database disk image is malformed"):
        Store(path, write=write)


def test_a_full_disk_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite rolls back by itself then, which may not hide why."""

    def connect(self: Store) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None)
        db.execute("PRAGMA max_page_count = 2")
        return db

    monkeypatch.setattr(Store, "_connect", connect)
    with pytest.raises(MachineError, match=r"cannot open the store .*: database or disk is full"):
        Store(path)


def test_damage_is_the_machines_affair_whatever_is_read(path: Path) -> None:
    with Store(path) as store:
        store.put(spec(), TIME, trace(), STATES, 1.25, MACHINE)
    db = sqlite3.connect(path)
    db.execute("UPDATE runs SET outcome = 'gone'")
    db.commit()
    db.close()
    with Store(path) as store:
        for read in (store.listing, lambda: store.get([spec().digest])):
            with pytest.raises(MachineError, match=r"store\.sqlite is damaged: 'gone'"):
                read()


def older(path: Path, version: int) -> None:
    """Make a store one of an earlier schema, as far as its records go: diagnostics without names, or none."""
    db = sqlite3.connect(path)
    if version == 1:
        db.execute("ALTER TABLE runs DROP COLUMN diagnostics")
    else:
        names = ("epoch", "spectral_norm", "effective_rank", "weight_norm", "collapsed", "update_hidden", "update_rest")
        states = json.dumps([[getattr(state, name) for name in names] for state in STATES])  # those of schema 2
        db.execute("UPDATE runs SET diagnostics = ?", (states,))
    db.execute(f"PRAGMA user_version = {version}")
    db.commit()
    db.close()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("write", [True, False])
def test_older_stores_are_read_and_changed_only_to_be_written(path: Path, version: int, write: bool) -> None:
    with Store(path) as store:
        store.put(spec(), TIME, trace(), STATES, 1.25, MACHINE)
    older(path, version)
    before = path.read_bytes()
    with Store(path, write=write) as store:
        record = store.get([spec().digest])[spec().digest]
        assert (record.time, repr(record.diagnostics)) == (TIME, repr(STATES if version == 2 else ()))
    assert (path.read_bytes() == before) is not write


def test_a_store_that_is_only_read_stays_as_it_is(path: Path) -> None:
    with pytest.raises(UsageError, match="there is no store"):
        Store(path, write=False)
    path.touch()
    with Store(path, write=False) as store:
        assert store.known([spec().digest]) == set()
        assert store.get([spec().digest]) == {}
    assert path.stat().st_size == 0
    with Store(path) as store:
        store.put(spec(), TIME, trace(), STATES, 1.25, MACHINE)
    before = path.read_bytes()
    with Store(path, write=False) as store:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            store.put(spec(1), TIME, trace(), STATES, 1.25, MACHINE)
        assert store.get([spec().digest])[spec().digest].trace == trace()
    assert path.read_bytes() == before


def test_a_store_that_is_gone_is_closed_without_another_error(path: Path) -> None:
    store = Store(path)
    assert store.claim(spec().digest)
    path.write_bytes(b"truncated")
    store.close()
