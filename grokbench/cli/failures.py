"""The one place that says what a failure means: by its exit code, and in one line."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import traceback
from typing import TextIO

from grokbench.cli.common import INTERRUPTED, MACHINE, USAGE
from grokbench.spec import MachineError, UsageError, machine_failed


def explained(error: BaseException, *, trains: bool) -> tuple[int, str]:
    """The exit code and the line for an error that ended a command. trains: the command keeps runs in a store."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
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
    code, line = explained(error, trains=hasattr(options, "store"))
    if getattr(options, "debug", False):
        traceback.print_exception(error, file=sys.stderr)
    with contextlib.suppress(OSError):  # nobody may be listening
        sys.stderr.write(f"grokbench: {line}\n")
        if code == USAGE:
            from grokbench.report import github

            github.annotate([github.Note("error", f"grokbench {options.command}", str(error))], sys.stderr)
    return code


class Output(io.TextIOBase):
    """Standard output for a reader that may go away: what then is written is lost, and no exit code changes by it."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            if self._stream:
                self._stream.write(text)
        except BrokenPipeError:
            self._lose()
        return len(text)

    def flush(self) -> None:
        try:
            if self._stream:
                self._stream.flush()
        except BrokenPipeError:
            self._lose()

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("standard output is closed")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def _lose(self) -> None:
        """What is still in its buffer would fail once more at the end of the process."""
        stream, self._stream = self._stream, None
        with contextlib.suppress(OSError, ValueError):
            if stream:
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, stream.fileno())
                os.close(nothing)
