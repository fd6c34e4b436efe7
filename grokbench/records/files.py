"""Results as files of one line of JSON: whether a path can be written, and writing it whole."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from grokbench.spec import UsageError


class Writable(Protocol):
    def write(self, text: str, /) -> object: ...


_standard: list[Writable] = []  # where standard output is, if something else has its place


@contextlib.contextmanager
def standard_output(stream: Writable) -> Iterator[None]:
    """Let '-' mean this stream."""
    _standard.append(stream)
    try:
        yield
    finally:
        _standard.pop()


def check(path: str) -> None:
    """Make sure that a file can be written; '-' is standard output.

    Raises `UsageError` for a folder, a store, and a place where nothing can be written.
    """
    if path == "-":
        return
    target = Path(path)
    if target.is_dir():
        raise UsageError(f"cannot write {path}: it is a folder")
    if not target.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {target.parent}")
    if target.is_file():
        with target.open("rb") as file:
            if file.read(6) == b"SQLite":
                raise UsageError(f"{path} is a database; it was left as it is")
    place = target if target.exists() and not target.is_file() else target.parent
    if not os.access(place, os.W_OK):
        raise UsageError(f"cannot write {path}: {place} may not be written to")


def prepare(path: str, *inputs: str) -> None:
    """`check` a file for results, and remove an older one, which would tell of another run.

    Raises `UsageError`, too, for a file that is read here.
    """
    check(path)
    target = Path(path)
    if path == "-" or not target.is_file():  # devices and pipes are left as they are
        return
    for name in inputs:
        if Path(name).is_file() and target.samefile(name):
            raise UsageError(f"cannot write {path}: it is read here; name another file")
    target.unlink()


def write_line(path: str, content: object) -> None:
    """Write one line of JSON to a file at once, to a device or pipe as it is, or to standard output ('-')."""
    line = json.dumps(content, allow_nan=False) + "\n"
    target = Path(path)
    if path == "-":
        (_standard[-1] if _standard else sys.stdout).write(line)
    elif target.exists() and not target.is_file():
        target.write_text(line)
    else:
        partial = target.with_name(target.name + ".partial")
        try:
            partial.write_text(line)
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
