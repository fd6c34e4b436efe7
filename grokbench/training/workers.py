"""Other processes of this machine that train the same runs into the same store, one thread each.

The models are so small that two processes of one thread train more than one of two threads. Workers divide the
runs by the store's leases, need no orders after the first, and end with the process that started them.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from grokbench.records.store import Store
from grokbench.spec import MachineError, RunSpec, UsageError, given
from grokbench.training import beside
from grokbench.training.local import Executor

DONE = 86  # exit code of a worker that has ended by itself; 0 is also what `os._exit(0)` in foreign code says
RUNS_PER_WORKER = 4  # starting a process takes as long as training about so many small runs for a second


def processes_for(threads: int, runs: int) -> int:
    """Into how many processes to divide so many threads for so many runs."""
    return max(1, min(threads, runs // RUNS_PER_WORKER))


class Workers:
    """`count` processes that train these runs on the CPU, one thread each, until `close` or until all are done."""

    def __init__(self, count: int, runs: Sequence[RunSpec], store: Path, since: float) -> None:
        command = [sys.executable, "-P", "-c", "from grokbench.training.workers import main; main()"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._processes = []
        for i in range(count):
            begin = len(runs) * (i + 1) // (count + 1)  # far from the others, so that ensembles are rarely divided
            order = sys.path, given.texts(), [*runs[begin:], *runs[:begin]], store, since
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)
            self._processes.append(process)
            with contextlib.suppress(BrokenPipeError):  # it has ended; its runs are left to the others
                beside.send(process.stdin, order)

    @property
    def busy(self) -> bool:
        """Whether any of them is still at work."""
        return any(process.poll() is None for process in self._processes)

    def check(self) -> None:
        """Raise `MachineError` if one of them has been killed, or was ended by foreign code."""
        for process in self._processes:
            if process.poll() not in (None, DONE):
                raise MachineError(
                    f"a worker, process {process.pid}, ended {beside.how(process.returncode)} before its runs were done"
                )

    def close(self) -> None:
        """End them: they give their leases back."""
        beside.end(*self._processes)


def main() -> None:
    """What a worker does: take its order, train, and end when its standard input does, or with `DONE`."""
    # What is wrong with a plug-in the process that started this one meets as well, and reports it.
    with contextlib.suppress(UsageError, KeyboardInterrupt):
        path, texts, runs, store_path, since = next(beside.orders())
        sys.path[:] = path
        with Store(store_path) as store:
            given.receive(texts)
            Executor(store, "cpu", since=since).records(runs)
    sys.exit(DONE)
