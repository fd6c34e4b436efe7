"""The one place that says what a failure means: by its exit code, and in one line."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import threading
import traceback
from collections.abc import Iterator

from grokbench.cli import streams
from grokbench.cli.common import INTERRUPTED, MACHINE, USAGE
from grokbench.spec import MachineError, UsageError, machine_failed


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP as a terminal closes, end a command as Ctrl-C does: leases are given back.

    As the first process of a container, one without a handler would not even end. `nohup` ignores SIGHUP; so it stays.
    """
    ours = []
    if threading.current_thread() is threading.main_thread():
        known = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
        ours = [number for number in known if signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def explained(error: BaseException, *, trains: bool) -> tuple[int, str]:
    """The exit code and the line for an error that ended a command. trains: the command keeps runs in a store."""
    first = str(error).strip().partition("\n")[0]  # torch's go on with advice; --debug shows all
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    kept = "; finished runs are in the store" if trains else ""
    if isinstance(error, UsageError):
        return USAGE, f"error: {error}"
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, f"interrupted{kept}"
    if isinstance(error, MachineError):
        return MACHINE, f"the machine failed: {error}"
    if machine_failed(error):
        return MACHINE, f"the machine failed: {text}{kept}"
    return MACHINE, f"grokbench itself failed: {text}; --debug shows where"


def report(error: BaseException, options: argparse.Namespace) -> int:
    """Say it, also to GitHub where a user can mend it; the exit code."""
    code, line = explained(error, trains=hasattr(options, "store") and hasattr(options, "threads"))
    if getattr(options, "debug", False):
        traceback.print_exception(error, file=sys.stderr)
    with contextlib.suppress(OSError):  # nobody may be listening
        sys.stderr.write(streams.wrapped(f"grokbench: {line}\n", sys.stderr))
        if code == USAGE:
            from grokbench.report import github

            github.annotate([github.Note("error", f"grokbench {options.command}", str(error))], sys.stderr)
    return code
