"""A store divides work among processes by leases, whatever becomes of the processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stored import MACHINE, STATES, TIME, spec, trace

from grokbench.records import store as store_module
from grokbench.records.store import Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


def child(code: str, path: Path) -> subprocess.Popen[str]:
    """A process that has `store`, `spec`, `trace`, `TIME` and `MACHINE` and runs `code`."""
    setup = f"import sys; sys.path.insert(0, {os.fspath(Path(__file__).parents[1])!r})\nfrom stored import *\n"
    code = f"{setup}store = Store({os.fspath(path)!r})\n{code}"
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_what_one_claims_no_other_can(path: Path) -> None:
    ours, theirs = Store(path), Store(path)
    digest = spec().digest
    assert ours.claim(digest)
    assert ours.claim(digest), "again, by its owner"
    assert not theirs.claim(digest)
    assert theirs.claim(spec(1).digest)
    ours.close()
    assert theirs.claim(digest)
    theirs.close()


def test_what_is_finished_cannot_be_claimed(path: Path) -> None:
    ours, theirs = Store(path), Store(path)
    digest = spec().digest
    assert ours.claim(digest)
    ours.put(spec(), TIME, trace(), STATES, 1.0, MACHINE)
    assert not theirs.claim(digest)
    assert not ours.claim(digest)
    later = time.time() + 60
    assert theirs.claim(digest, since=later)
    assert not ours.claim(digest, since=later)
    ours.close()
    theirs.close()


def test_a_lease_from_elsewhere_is_void_once_it_stands_still(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of who looks: that of the other may be wrong by years."""
    ours, theirs = Store(path), Store(path)
    digest, clock = spec().digest, [0.0]
    monkeypatch.setattr(store_module, "RENEW_SECONDS", 1000.0)
    monkeypatch.setattr(store_module, "_place", lambda: "elsewhere")
    monkeypatch.setattr(store_module.time, "time", lambda: 1e6)
    assert theirs.claim(digest)
    monkeypatch.undo()
    monkeypatch.setattr(store_module.time, "monotonic", lambda: clock[0])
    for seconds, renewed in ((0, False), (9, True), (18, False), (29, False)):
        clock[0] = float(seconds)
        if renewed:
            db = sqlite3.connect(path)
            db.execute("UPDATE leases SET renewed = renewed + 1")
            db.commit()
            db.close()
        assert ours.claim(digest) == (seconds == 29)
    monkeypatch.undo()
    ours.close()
    theirs.close()


def test_a_lease_is_renewed_while_its_holder_is_busy(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "RENEW_SECONDS", 0.01)
    with Store(path) as store:
        assert store.claim(spec().digest)
        db = sqlite3.connect(path)
        with db:
            db.execute("INSERT INTO leases SELECT 'of another', 'another', host, pid, started, 7 FROM leases")
        seen, end = set(), time.monotonic() + 30
        while len(seen) < 3 and time.monotonic() < end:
            seen |= set(db.execute("SELECT renewed FROM leases WHERE owner != 'another'"))
        assert db.execute("SELECT renewed FROM leases WHERE owner = 'another'").fetchall() == [(7,)]
        db.close()
    assert len(seen) >= 3


def test_the_lease_of_a_killed_process_is_void(path: Path) -> None:
    digest = spec().digest
    process = child("print(store.claim(spec().digest), flush=True); sys.stdin.read()", path)
    ours = Store(path)
    try:
        assert line(process) == "True"
        assert not ours.claim(digest)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert ours.claim(digest)
    ours.close()


def test_processes_divide_the_work(path: Path) -> None:
    """Both ask for all 200 at the same time; each run goes to exactly one."""
    code = """
print("ready", flush=True)
sys.stdin.readline()
mine = [replica for replica in range(200) if store.claim(spec(replica).digest)]
print("done", *mine, flush=True)
sys.stdin.read()
"""
    processes = [child(code, path) for _ in range(2)]
    try:
        assert [line(process) for process in processes] == ["ready"] * 2
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [line(process).split() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [answer[:1] for answer in answers] == [["done"]] * 2, "a process failed"
    assert sorted(int(replica) for answer in answers for replica in answer[1:]) == list(range(200))


def test_a_process_killed_while_it_writes_leaves_whole_records(path: Path) -> None:
    process = child(
        "for replica in range(10**6):\n"
        "    store.put(spec(replica % 500), TIME, trace(2000, seed=replica % 500), STATES, 1.0, MACHINE)\n"
        "    print(replica, flush=True)",
        path,
    )
    while int(line(process)) < 40:
        pass
    process.kill()
    rest, _ = process.communicate()
    written = int(rest.split()[-1]) + 1 if rest.split() else 41
    store = Store(path)
    found = store.get(spec(replica).digest for replica in range(500))
    assert min(written, 500) <= len(found) <= written + 1
    for replica in range(len(found)):
        record = found[spec(replica).digest]
        assert (record.time, record.provenance) == (TIME, MACHINE)
        for kept, made in zip(vars(record.trace).values(), vars(trace(2000, seed=replica)).values(), strict=True):
            assert (kept.dtype, kept.tobytes()) == (made.dtype, made.tobytes())
    store.put(spec(1000), TIME, trace(), STATES, 1.0, MACHINE)
    store.close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
