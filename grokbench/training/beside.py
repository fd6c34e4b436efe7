"""Processes beside this one: what they are sent, how they end with this one, and how that is said. Torch-free."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

END_SECONDS = 3.0  # for a process to give its leases back once it is told to end; after that it is killed


def send(stream: Any, content: object) -> None:
    """Write what `receive` reads."""
    data = pickle.dumps(content)
    stream.write(len(data).to_bytes(8, "little") + data)
    stream.flush()


def receive(stream: Any) -> Any:
    """What was sent. Raises `EOFError` at the end."""
    return pickle.loads(_received(stream))


def _received(stream: Any) -> bytes:
    return _exactly(stream, int.from_bytes(_exactly(stream, 8), "little"))


def _exactly(stream: Any, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (piece := stream.read(size - len(data))):
            raise EOFError
        data += piece
    return data


def orders() -> Iterator[Any]:
    """What this process is sent on its standard input by the one that started it.

    When that input ends, so does this process: whatever it does is ended by `KeyboardInterrupt`, as by SIGTERM. Signals
    of the terminal are for the other one, which then ends this one.
    """
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(waiting,), daemon=True).start()
    while True:
        yield pickle.loads(waiting.get())


def _read(waiting: queue.SimpleQueue[bytes]) -> None:
    with open(0, "rb", buffering=0, closefd=False) as stream:  # unbuffered, since a buffer's lock would outlive main
        try:
            while True:
                waiting.put(_received(stream))
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(END_SECONDS)
            os._exit(1)  # it is busy for too long; leases of a process that is gone are free


def end(*processes: subprocess.Popen[bytes]) -> None:
    """End processes that take `orders`. One that does not end soon, say in foreign code, is killed."""
    for process in processes:
        assert process.stdin
        with contextlib.suppress(BrokenPipeError):  # it has ended
            process.stdin.close()
    until = time.monotonic() + END_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout:
            process.stdout.close()


def how(code: int) -> str:
    """How a process ended, by its exit code."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
