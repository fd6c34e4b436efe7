"""Workers share the runs through the store, and end with the process that started them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from plugins import Base
from tiny import a_run

from grokbench.options import Options
from grokbench.records.store import Store
from grokbench.session import Session, cases
from grokbench.spec import MachineError, given
from grokbench.training import cores, workers
from grokbench.training.local import Executor
from grokbench.training.trainer import Trainer
from grokbench.training.workers import Workers


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize(("threads", "runs", "processes"), [(1, 100, 1), (2, 100, 2), (64, 24, 6), (8, 3, 1)])
def test_how_many_processes_there_are(threads, runs, processes):
    assert workers.processes_for(threads, runs) == processes


def test_what_workers_train_is_what_one_process_trains(tmp_path):
    class Own(Base):  # of no module that a worker could import
        def change(self, p, lr):
            p.sub_(p.grad * lr * 0.5)

    runs = [a_run(r, task=t) for r in range(3) for t in range(2)]
    runs[3:] = [a_run(r, given.name_of(Own)) for r in range(3)]
    path = tmp_path / "shared.sqlite"
    store = Store(path)
    started = Workers(1, runs, path, 0.0)
    wait_for(lambda: len(store.known(run.digest for run in runs)) == 6)
    wait_for(
        lambda: all(process.poll() == workers.DONE for process in started._processes)
    )  # there is nothing left to do
    started.close()
    other = Store(tmp_path / "alone.sqlite")
    alone = Executor(other, "cpu").records(runs)
    shared = store.get(alone)
    assert all(shared[digest].trace == record.trace for digest, record in alone.items())
    assert {record.provenance.threads for record in shared.values()} == {1}
    store.close()
    other.close()


@pytest.mark.slow
def test_a_session_with_two_threads_has_a_worker_and_ends_it(tmp_path, tiny, monkeypatch):
    started = []

    class Watched(Workers):
        def __init__(self, count, runs, store, since):
            super().__init__(count, runs, store, since)
            started.append((count, len(runs), self._processes))

    monkeypatch.setattr(workers, "Workers", Watched)
    monkeypatch.setattr(cores, "count", lambda: 2)
    options = Options("tiny", early_stop=False, replicas=4, store=tmp_path / "s.sqlite", threads=2)
    session = Session(options, cases(options)[:1])
    session.verdict(session.selected[0])
    session.close()
    ((count, runs, processes),) = started
    assert (count, runs) == (1, 8)
    assert all(process.poll() is not None for process in processes)


@pytest.mark.slow
def test_workers_end_with_their_parent_and_leave_no_lease(tmp_path):
    path = tmp_path / "store.sqlite"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(path)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    worker = int(parent.stdout.readline())
    store = Store(path)
    run = a_run(0, "sgd(lr=0.0)", budget=10**6)
    # the worker trains it, and would for long
    wait_for(lambda: store._db.execute("SELECT count(*) FROM leases").fetchone() == (1,))
    assert not store.claim(run.digest)
    parent.kill()
    parent.communicate()
    wait_for(lambda: not Path(f"/proc/{worker}").exists() or _is_zombie(worker))
    assert store.claim(run.digest)
    store.close()


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


_PARENT = """
import sys, time
from pathlib import Path
from tiny import a_run
from grokbench.records.store import Store
from grokbench.training.workers import Workers
Store(sys.argv[1]).close()
workers = Workers(1, [a_run(0, "sgd(lr=0.0)", budget=10**6)], Path(sys.argv[1]), 0.0)
print(workers._processes[0].pid, flush=True)
time.sleep(1000)
"""


@pytest.mark.slow
def test_a_worker_leaves_it_to_its_parent_to_report_what_cannot_be_used(tmp_path, capfd):
    path = tmp_path / "store.sqlite"
    Store(path).close()
    started = Workers(1, [a_run(0, "plugins:RaisesAtOnce")], path, 0.0)
    (process,) = started._processes
    assert process.wait(60) == workers.DONE
    started.check()
    started.close()
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_worker_that_foreign_code_ends_is_noticed(tmp_path):
    here, there = a_run(0, "sgd(lr=0.0)", budget=10**6), a_run(0, "plugins:Vanishes")
    with Store(tmp_path / "store.sqlite") as store:
        trainer = Trainer(store, "cpu", 1)
        trainer._workers = Workers(1, [there], store.path, 0.0)
        with pytest.raises(
            MachineError, match=r"worker, process \d+, ended with exit code 0 before its runs were done"
        ):
            trainer.train([here])  # would take for ever
        trainer.close()
