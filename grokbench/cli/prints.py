"""What optimizers print while a command is at work: kept from its table, and cut short on standard error."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence

MOST_LINES = 5


@contextlib.contextmanager
def kept() -> Iterator[list[str]]:
    """Keep what is printed inside, line by line; the list is filled at the end."""
    lines: list[str] = []
    buffer = io.StringIO()
    try:
        with contextlib.redirect_stdout(buffer):
            yield lines
    finally:
        lines += [line for line in buffer.getvalue().splitlines() if line.strip()]


def tell(lines: Sequence[str], name: str) -> None:
    """Show them on standard error, each once, and not all of many: some optimizers print hundreds."""
    shown = list(dict.fromkeys(lines))[:MOST_LINES]
    for line in shown:
        sys.stderr.write(f"{name} prints: {line}\n")
    if len(lines) > len(shown):
        sys.stderr.write(f"{name} prints {len(lines)} lines in all\n")
