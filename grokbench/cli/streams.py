"""Standard output: a reader that may go away, and JSON that nothing else may be mixed with."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import stat
import sys
import textwrap
from collections.abc import Iterator
from typing import TextIO

from grokbench.records import files


@contextlib.contextmanager
def standard_output(json: str | None) -> Iterator[Output]:
    """Standard output for a command, whose --json is given.

    If JSON goes there, everything else goes to standard error, also what a plug-in prints or writes to descriptor 1.
    """
    if json != "-":
        out = Output(sys.stdout)
        with contextlib.redirect_stdout(out):
            yield out
        return
    with contextlib.ExitStack() as stack:
        stream = sys.stdout
        if _descriptor(stream) == 1:
            kept = os.dup(1)
            os.dup2(2, 1)
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, 1)
            stream = open(kept, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
            stack.callback(_discard, stream)
        out = Output(stream)
        stack.enter_context(files.standard_output(out))
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        yield out


def _discard(stream: TextIO) -> None:
    """Close a stream whose user has flushed it, or was told why that failed."""
    with contextlib.suppress(OSError):
        stream.close()


def _descriptor(stream: TextIO | None) -> int | None:
    try:
        return stream.fileno() if stream else None
    except (OSError, ValueError):
        return None


class Output(io.TextIOBase):
    """Standard output or error for a reader that may go away: what then is written is lost, and no exit code changes.

    A terminal that has been closed is one, too.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with self._listened_to():
            if self._stream:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._listened_to():
            if self._stream:
                self._stream.flush()

    @contextlib.contextmanager
    def _listened_to(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if not (isinstance(error, BrokenPipeError) or (error.errno == errno.EIO and self._is_device())):
                raise
            self._lose()

    def _is_device(self) -> bool:
        return stat.S_ISCHR(os.fstat(self.fileno()).st_mode)

    def close(self) -> None:
        """The stream is somebody else's, who may have closed it before this is collected."""

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


def wrapped(text: str, stream: TextIO) -> str:
    """For a terminal, lines that are too long for it are broken at words; a log or a file has them whole."""
    if not stream.isatty():
        return text
    width = shutil.get_terminal_size().columns
    lines = [
        textwrap.fill(line, width, break_long_words=False, break_on_hyphens=False) if len(line) > width else line
        for line in text.splitlines()
    ]
    return "".join(f"{line}\n" for line in lines)
