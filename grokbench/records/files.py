"""Results as files of one line of JSON: whether a path can be written, and writing it whole."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from grokbench.spec import UsageError


def check(path: str) -> None:
    """Raise `UsageError` if `path` ('-' is standard output) cannot be written, or is a store."""
    if path != "-":
        if Path(path).is_file() and Path(path).read_bytes()[:6] == b"SQLite":
            raise UsageError(f"{path} is a database; it was left as it is")
        try:
            with Path(path).open("a"):
                pass
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None


def write_line(path: str, content: object) -> None:
    """Write one line of JSON to a file at once, to a device or pipe as it is, or to standard output ('-')."""
    line = json.dumps(content, allow_nan=False) + "\n"
    target = Path(path)
    if path == "-":
        sys.stdout.write(line)
    elif target.exists() and not target.is_file():
        target.write_text(line)
    else:
        partial = target.with_name(target.name + ".partial")
        partial.write_text(line)
        partial.replace(target)
