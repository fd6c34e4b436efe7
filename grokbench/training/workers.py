"""Other processes of this machine that train the same runs into the same store, one thread each.

The models are so small that two processes of one thread train more than one of two threads. Workers divide the
runs by the store's leases, need no orders after the first, and end with the process that started them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from grokbench.records.store import Store
from grokbench.spec import MachineError, RunSpec, UsageError, given
from grokbench.training.local import Executor

DONE = 86  # exit code of a worker that has ended by itself; 0 is also what `os._exit(0)` in foreign code says
END_SECONDS = 3.0  # for a worker to give its leases back once it is told to end; after that it is killed
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
            order = pickle.dumps((sys.path, given.texts(), [*runs[begin:], *runs[:begin]], store, since))
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=environment)
            self._processes.append(process)
            assert process.stdin
            with contextlib.suppress(BrokenPipeError):  # it has ended; its runs are left to the others
                process.stdin.write(len(order).to_bytes(8, "little") + order)
                process.stdin.flush()

    @property
    def busy(self) -> bool:
        """Whether any of them is still at work."""
        return any(process.poll() is None for process in self._processes)

    def check(self) -> None:
        """Raise `MachineError` if one of them has been killed, or was ended by foreign code."""
        for process in self._processes:
            if process.poll() not in (None, DONE):
                raise MachineError(
                    f"a worker, process {process.pid}, ended {_how(process.returncode)} before its runs were done"
                )

    def close(self) -> None:
        """End them: they give their leases back. One that does not end soon, say in foreign code, is killed."""
        for process in self._processes:
            assert process.stdin
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        end = time.monotonic() + END_SECONDS
        for process in self._processes:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"


def main() -> None:
    """What a worker does: read its order, train, and end when its standard input does, or with `DONE`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it tells it to end
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C elsewhere: leases are given back
    size = int.from_bytes(sys.stdin.buffer.read(8), "little")
    path, texts, runs, store_path, since = pickle.loads(sys.stdin.buffer.read(size))
    sys.path[:] = path

    def end_with_parent() -> None:
        os.read(sys.stdin.fileno(), 1)  # nothing more is written, so this returns at the end
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(END_SECONDS)
        os._exit(1)  # it is busy for too long; leases of a process that is gone are free

    threading.Thread(target=end_with_parent, daemon=True).start()
    # What is wrong with a plug-in the process that started this one meets as well, and reports it.
    with contextlib.suppress(UsageError, KeyboardInterrupt), Store(store_path) as store:
        given.receive(texts)
        Executor(store, "cpu", since=since).records(runs)
    sys.exit(DONE)
