"""Anyone's grok times from a text file: what people have, read without guessing silently.

One row a run. Columns are found by their names in any case: `arm`, `replica` and `time`, and if they are there `cell`,
`event`, `before` and `order`; instead of times, any column of numbers. Fields are separated by commas, semicolons or
tabs; lines that begin with # are comments.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from grokbench.spec import UsageError

LATEST = 1e15
LEAST = "least"  # as a budget: by cell the earliest time at which one of its runs was stopped
# What each column is called, ours first.
NAMES = {
    "cell": ("cell", "task", "group", "setting"),
    "arm": ("arm", "optimizer", "optimiser", "method"),
    "replica": ("replica", "seed", "pair"),
    "time": ("time", "step", "steps", "epoch", "epochs", "grok_step", "grok_epoch", "grok_time"),
    "event": ("event", "reached", "grokked"),
    "before": ("before",),
    "order": ("order",),
}
NEVER = ("", "inf", "+inf", "infinity", "nan", "none", "null", "never", "na", "n/a")
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_SHOWN = 60  # characters of a value that are echoed


class Row(NamedTuple):
    """One run; `line` is that of the file. event: the time was reached; otherwise the run was stopped at it without.

    before: the last evaluation at which it was not reached, if that is told. order: its place among runs that came one
    by one, if that is told. Where a quantity is read instead of times, it stands in `time`, and all are reached.
    """

    line: int
    cell: str
    arm: str
    replica: str
    time: float
    event: bool
    before: float | None = None
    order: float | None = None


def short(text: str) -> str:
    """A value as messages echo it."""
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


Source = Any
"""A path ('-' for standard input), an open file, a DataFrame of pandas or polars, or rows."""


def read(
    source: Source,
    budget: float | str | None = None,
    value: str | None = None,
    *,
    every: float | None = None,
    paired: bool = True,
) -> list[Row]:
    """The rows of a table. budget: the time at which all runs are cut, or `LEAST`, by cell the earliest stop.

    every: times are rounded up to its multiples. value: the column of a quantity that is read instead of times. paired:
    whether a column with replicas is needed.
    Raises `UsageError` that names the line of what is wrong.
    """
    if isinstance(source, list) and all(isinstance(row, Row) for row in source):
        name, rows = "the rows", list(source)
    else:
        name = name_of(source)
        rows = _rows(name, text_of(source, name), value, paired)
    if not rows:
        raise UsageError(f"{name} has no rows")
    if value is not None:
        if budget is not None or every is not None:
            raise UsageError("--budget and --every are of times: leave them out, or --value")
        return rows
    if every is not None:
        if not 0 < every <= LATEST:
            raise UsageError(f"every must be above 0 and at most {LATEST:g}, not {every:g}")
        rows = [_rounded(row, every) for row in rows]
    if budget is not None:
        budgets = _budgets(rows, budget)
        return [_cut(name, row, budgets[row.cell]) for row in rows]
    for row in rows:
        if row.time == math.inf:
            raise UsageError(f"{name}, line {row.line}: it was not reached, but until when? --budget T says it")
    return rows


def _budgets(rows: list[Row], budget: float | str) -> dict[str, float]:
    """By cell."""
    cells = dict.fromkeys(row.cell for row in rows)
    if isinstance(budget, str):
        if budget != LEAST:
            raise UsageError(f"the budget must be a time or {LEAST!r}, not {short(budget)}")
        stops = dict.fromkeys(cells, math.inf)
        for row in rows:
            if not row.event:
                stops[row.cell] = min(stops[row.cell], row.time)
        return stops
    if not 0 < budget <= LATEST:
        raise UsageError(f"the budget must be above 0 and at most {LATEST:g}, not {budget:g}")
    return dict.fromkeys(cells, float(budget))


def name_of(source: Source) -> str:
    """What messages call a source."""
    if isinstance(source, str | Path):
        return "standard input" if str(source) == "-" else str(source)
    return str(getattr(source, "name", "the table")) if hasattr(source, "read") else "the table"


def text_of(source: Source, name: str) -> str:
    """The text of a table. Raises `UsageError` for what is none."""
    for method, settings in (("to_csv", {"index": False}), ("write_csv", {})):  # pandas', polars'
        if hasattr(source, method):
            return str(getattr(source, method)(**settings))
    try:
        if isinstance(source, str | Path):
            content = sys.stdin.buffer.read() if str(source) == "-" else Path(source).read_bytes()
        elif hasattr(source, "read"):
            content = source.read()
        else:
            raise UsageError(f"a table is a path, an open file or a DataFrame, not {type(source).__name__}")
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}") from None
    except ValueError as error:  # a path with a null character
        raise error if isinstance(error, UsageError) else UsageError(f"cannot read {short(name)}: {error}") from None
    if isinstance(content, str):
        return content.removeprefix("\ufeff")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UsageError(f"{name} is UTF-16 text: save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{name}, line {where}: byte {content[error.start]:#04x} is not UTF-8 text") from None


def records(name: str, text: str) -> Iterator[tuple[int, list[str], str]]:
    """Line, stripped fields and separator of every line of a table that says something, its header first."""
    # Comments become empty lines, so that the numbers of lines stay.
    lines = ["" if line.lstrip().startswith("#") else line for line in io.StringIO(text, newline=None)]
    first = next((line for line in lines if line.strip()), "")
    separator = max(SEPARATORS, key=first.count)
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t", strict=True)
    width = 0
    try:
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            width = width or len(fields)
            if len(fields) != width:
                hint = "; is a comma used as the decimal sign?" if separator == "," and len(fields) > width else ""
                raise UsageError(f"{name}, line {reader.line_num}: {len(fields)} fields under {width} names{hint}")
            yield reader.line_num, [field.strip() for field in fields], separator
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num}: it cannot be read as a table: {error}") from None


def _rows(name: str, text: str, value: str | None, paired: bool) -> list[Row]:
    table = records(name, text)
    _, header, separator = next(table, (0, [], ","))
    if not header:
        raise UsageError(f"{name} has no rows")
    names = NAMES if value is None else {**{c: NAMES[c] for c in ("cell", "arm", "replica")}, "value": (value.lower(),)}
    needed = ["arm", *["replica"] * paired, "time" if value is None else "value"]
    columns = columns_of(name, header, separator, names, needed)
    read = _row if value is None else _quantity
    return [read(name, line, {column: fields[i] for column, i in columns.items()}, value) for line, fields, _ in table]


def columns_of(
    name: str, header: list[str], separator: str, names: Mapping[str, Sequence[str]], needed: Sequence[str]
) -> dict[str, int]:
    """Where each column stands. Raises `UsageError` where one is missing, or two stand for the same."""
    places: dict[str, list[int]] = {}
    for i, title in enumerate(header):
        for column, known in names.items():
            if title.lower() in known:
                places.setdefault(column, []).append(i)
    for column, found in places.items():
        if len(found) > 1:
            titles = ", ".join(short(header[i]) for i in found)
            raise UsageError(f"{name} has {len(found)} columns for {column}: {titles}; leave one")
    for column in needed:
        if column not in places:
            seen = ", ".join(short(title) for title in header)
            wanted = " or ".join(names[column])
            raise UsageError(
                f"{name} has no column {column!r} ({wanted}); {SEPARATORS[separator]} separate its columns: {seen}"
            )
    return {column: found[0] for column, found in places.items()}


def number(text: str) -> float:
    """A number as people write it, NaN for anything else."""
    try:
        return math.nan if "_" in text else float(text)
    except ValueError:
        return math.nan


def _row(name: str, line: int, values: dict[str, str], value: str | None) -> Row:
    def refuse(why: str) -> UsageError:
        return UsageError(f"{name}, line {line}: {why}")

    def finite(column: str) -> float:
        found = number(values[column])
        if not math.isfinite(found):
            raise refuse(f"{column} must be a number, not {short(values[column])}")
        return found

    cell, arm, replica = _place(line, values, refuse)
    event = _event(values.get("event", ""), refuse)
    if values["time"].lower() in NEVER:
        if event:
            raise refuse(f"event says that it was reached, but time is {short(values['time'])}")
        time, event = math.inf, False
    else:
        time, event = finite("time"), event is not False
        if not 0 < time <= LATEST:
            raise refuse(f"time must be above 0 and at most {LATEST:g}, not {short(values['time'])}")
    before = None
    if values.get("before") and event:
        before = finite("before")
        if not 0 <= before < time:
            raise refuse(f"before must be a time of at least 0 and earlier than {time:g}, not {before:g}")
    order = finite("order") if "order" in values else None
    return Row(line, cell, arm, replica, time, event, before, order)


def _quantity(name: str, line: int, values: dict[str, str], value: str | None) -> Row:
    def refuse(why: str) -> UsageError:
        return UsageError(f"{name}, line {line}: {why}")

    found = number(values["value"])
    if not abs(found) <= LATEST:
        why = f"{value} must be a number, not {short(values['value'])}"
        diverged = "; a run that diverged needs a number, too, chosen before the results were seen"
        raise refuse(why + diverged * (values["value"].lower() in NEVER))
    return Row(line, *_place(line, values, refuse), found, True)


def _place(line: int, values: dict[str, str], refuse: Callable[[str], UsageError]) -> tuple[str, str, str]:
    """Cell, arm and replica, by its line where there is no such column."""
    for column in ("cell", "arm", "replica"):
        if not values.get(column, "-"):
            raise refuse(f"{column} is empty")
    return values.get("cell", "all"), values["arm"], values.get("replica", str(line))


def _event(text: str, refuse: Callable[[str], UsageError]) -> bool | None:
    """None where it is not told."""
    if text.lower() in YES:
        return True
    if text.lower() in NO:
        return False
    if text.lower() in ("", "nan", "none", "na"):
        return None
    raise refuse(f"event must be 1 (reached) or 0 (censored), not {short(text)}")


def _rounded(row: Row, every: float) -> Row:
    """The row as if its run had been evaluated at multiples of a time alone."""
    if not row.event:
        return row
    steps = math.ceil(row.time / every * (1 - 1e-12))  # a multiple stays, whatever its last bit
    return row._replace(time=steps * every, before=(steps - 1) * every)


def _cut(name: str, row: Row, budget: float) -> Row:
    """The row as if its run had been stopped at the budget."""
    if budget == math.inf:  # nothing to cut in a cell
        if row.time == math.inf:
            raise UsageError(f"{name}, line {row.line}: it was not reached, but until when? --budget T says it")
        return row
    if row.time > budget:
        return row._replace(time=budget, event=False, before=None)
    if not row.event and row.time < budget:
        raise UsageError(
            f"{name}, line {row.line}: the run was stopped at {row.time:g}, before the budget of {budget:g}: "
            f"give a budget of at most {row.time:g}, or --budget {LEAST}"
        )
    return row


def arms_of(rows: Iterable[Row]) -> list[str]:
    """The arms in the order in which they appear."""
    return list(dict.fromkeys(row.arm for row in rows))
