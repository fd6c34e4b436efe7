"""What GitHub Actions shows of a result: a step summary in Markdown, and annotations.

https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

SUMMARY_BYTES = 1 << 20  # of a step's summary, in UTF-8; a longer one is not shown at all
MOST_ANNOTATIONS = 10  # of one level in a step; further ones are not shown
_CUT = "\n\n(cut here: a step's summary has a size limit)\n"
LEVELS = ("error", "warning", "notice")


class Note(NamedTuple):
    """An annotation. level: error, warning or notice."""

    level: str
    title: str
    text: str


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def _cell(text: str) -> str:
    for sign, entity in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("\n", " ")):
        text = text.replace(sign, entity)
    return text


def publish(title: str, body: str, notes: Sequence[Note] = (), stream: TextIO | None = None) -> None:
    """Append to the step's summary, and annotate; nothing outside GitHub Actions.

    A summary that cannot be written is said on standard error: it costs no verdict.
    """
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        try:
            _append(Path(path), f"### {title}\n\n{body}\n")
        except OSError as error:
            with contextlib.suppress(OSError):  # nobody may be listening
                reason = error.strerror or error
                sys.stderr.write(
                    f"grokbench: warning: no summary of this step in GITHUB_STEP_SUMMARY={path}: {reason}\n"
                )
    annotate(notes, stream)


def annotate(notes: Sequence[Note], stream: TextIO | None = None) -> None:
    """Print annotations, the gravest first; nothing outside GitHub Actions."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        out = stream or sys.stdout
        for note in _most(sorted(notes, key=lambda note: LEVELS.index(note.level))):
            out.write(f"::{note.level} title={_escape(note.title, ':,')}::{_escape(note.text)}\n")


def _append(path: Path, text: str) -> None:
    """As much of the text as the limit leaves room for, to the end of a line. Raises `OSError`."""
    size, last = 0, b"\n"
    if path.exists():
        if not path.is_file():  # reading from a terminal or a pipe would wait for ever
            raise OSError(f"it is {'a folder' if path.is_dir() else 'a device or a pipe'}, not a file")
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(-1, os.SEEK_END)
                last = file.read()
    content = b"\n" * (last != b"\n") + text.encode(errors="backslashreplace")
    room = SUMMARY_BYTES - size
    if len(content) > room:
        kept = content[: max(0, room - len(_CUT.encode()))].rpartition(b"\n")[0]
        content = kept + _CUT.encode() if kept else b""
    with path.open("ab") as file:
        file.write(content)


def _most(notes: list[Note]) -> list[Note]:
    if len(notes) <= MOST_ANNOTATIONS:
        return notes
    shown = notes[: MOST_ANNOTATIONS - 1]
    rest = len(notes) - len(shown)
    return [*shown, Note(notes[len(shown)].level, "grokbench", f"and {rest} more, in the step's summary")]


def _escape(text: str, more: str = "") -> str:
    for sign in ("%", "\r", "\n", *more):
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
