"""Anyone's grok times from a text file: what people have, read without guessing silently.

One row a run. Columns are found by their names in any case: `arm`, `replica` and `time`, and if they are there `cell`,
`event` and `before`. Fields are separated by commas, semicolons or tabs; lines that begin with # are comments.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from grokbench.spec import UsageError

LATEST = 1e15
# What each column is called, ours first.
NAMES = {
    "cell": ("cell", "task", "group", "setting"),
    "arm": ("arm", "optimizer", "optimiser", "method"),
    "replica": ("replica", "seed", "pair"),
    "time": ("time", "step", "steps", "epoch", "epochs", "grok_step", "grok_epoch", "grok_time"),
    "event": ("event", "reached", "grokked"),
    "before": ("before",),
}
NEEDED = ("arm", "replica", "time")
NEVER = ("", "inf", "+inf", "infinity", "nan", "none", "null", "never", "na", "n/a")
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_SHOWN = 60  # characters of a value that are echoed


class Row(NamedTuple):
    """One run; `line` is that of the file. event: the time was reached; otherwise the run was stopped at it without.

    before: the last evaluation at which it was not reached, if that is told.
    """

    line: int
    cell: str
    arm: str
    replica: str
    time: float
    event: bool
    before: float | None = None


def short(text: str) -> str:
    """A value as messages echo it."""
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def read(path: str, budget: float | None = None) -> list[Row]:
    """The rows of a file, '-' for standard input; budget: the time at which all runs are cut.

    Raises `UsageError` that names the line of what is wrong.
    """
    name = "standard input" if path == "-" else path
    rows = _rows(name, _text(path, name))
    if budget is not None:
        if not 0 < budget <= LATEST:
            raise UsageError(f"the budget must be above 0 and at most {LATEST:g}, not {budget:g}")
        return [_cut(name, row, budget) for row in rows]
    for row in rows:
        if row.time == math.inf:
            raise UsageError(f"{name}, line {row.line}: it was not reached, but until when? --budget T says it")
    return rows


def _text(path: str, name: str) -> str:
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{name} is UTF-16 text: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}, line {where}: byte {content[error.start]:#04x} is not UTF-8 text") from None


def _rows(name: str, text: str) -> list[Row]:
    # Comments become empty lines, so that the numbers of lines stay.
    lines = ["" if line.lstrip().startswith("#") else line for line in io.StringIO(text, newline=None)]
    first = next((line for line in lines if line.strip()), "")
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    columns: dict[str, int] | None = None
    width, rows = 0, []
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if columns is None:
                columns, width = _columns(name, fields, separator), len(fields)
                continue
            if len(fields) != width:
                hint = "; is a comma used as the decimal sign?" if separator == "," and len(fields) > width else ""
                raise UsageError(f"{name}, line {reader.line_num}: {len(fields)} fields under {width} names{hint}")
            rows.append(_row(name, reader.line_num, {column: fields[i].strip() for column, i in columns.items()}))
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}: it cannot be read as a table: {error}") from None
    if not rows:
        raise UsageError(f"{name} has no rows")
    return rows


def _columns(name: str, header: list[str], separator: str) -> dict[str, int]:
    """Where each column stands. Raises `UsageError` where one is missing, or two stand for the same."""
    places: dict[str, list[int]] = {}
    for i, title in enumerate(header):
        for column, names in NAMES.items():
            if title.strip().lower() in names:
                places.setdefault(column, []).append(i)
    for column, found in places.items():
        if len(found) > 1:
            titles = ", ".join(short(header[i].strip()) for i in found)
            raise UsageError(f"{name} has {len(found)} columns for {column}: {titles}; leave one")
    for column in NEEDED:
        if column not in places:
            seen = ", ".join(short(title.strip()) for title in header)
            wanted = " or ".join(NAMES[column])
            raise UsageError(
                f"{name} has no column {column!r} ({wanted}); {SEPARATORS[separator]} separate its columns: {seen}"
            )
    return {column: found[0] for column, found in places.items()}


def _row(name: str, line: int, values: dict[str, str]) -> Row:
    def refuse(why: str) -> UsageError:
        return UsageError(f"{name}, line {line}: {why}")

    def number(column: str) -> float:
        text = values[column]
        try:
            found = math.nan if "_" in text else float(text)
        except ValueError:
            found = math.nan
        if not math.isfinite(found):
            raise refuse(f"{column} must be a number, not {short(text)}")
        return found

    for column in ("cell", "arm", "replica"):
        if not values.get(column, "-"):
            raise refuse(f"{column} is empty")
    event = _event(values.get("event", ""), refuse)
    if values["time"].lower() in NEVER:
        if event:
            raise refuse(f"event says that it was reached, but time is {short(values['time'])}")
        time, event = math.inf, False
    else:
        time, event = number("time"), event is not False
        if not 0 < time <= LATEST:
            raise refuse(f"time must be above 0 and at most {LATEST:g}, not {short(values['time'])}")
    before = None
    if values.get("before") and event:
        before = number("before")
        if not 0 <= before < time:
            raise refuse(f"before must be a time of at least 0 and earlier than {time:g}, not {before:g}")
    return Row(line, values.get("cell", "all"), values["arm"], values["replica"], time, event, before)


def _event(text: str, refuse: Callable[[str], UsageError]) -> bool | None:
    """None where it is not told."""
    if text.lower() in YES:
        return True
    if text.lower() in NO:
        return False
    if text.lower() in ("", "nan", "none", "na"):
        return None
    raise refuse(f"event must be 1 (reached) or 0 (censored), not {short(text)}")


def _cut(name: str, row: Row, budget: float) -> Row:
    """The row as if its run had been stopped at the budget."""
    if row.time > budget or (row.event and row.time == math.inf):
        return row._replace(time=budget, event=False, before=None)
    if not row.event and row.time < budget:
        raise UsageError(
            f"{name}, line {row.line}: the run was stopped at {row.time:g}, before the budget of {budget:g}: "
            f"give a budget of at most {row.time:g}"
        )
    return row


def arms_of(rows: Iterable[Row]) -> list[str]:
    """The arms in the order in which they appear."""
    return list(dict.fromkeys(row.arm for row in rows))
