"""Benchmark results of several files, side by side, for a terminal and as JSON."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from grokbench.perf.compare import ABSENT, SAMPLES, SHOWN, Measurement, Ratio, Results, Row, differing

UNITS = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9))


def document(files: Sequence[Results], table: Iterable[Row]) -> dict[str, Any]:
    """{"files": [...], "differs": [...], "benchmarks": [...]}; the results of a benchmark are in the files' order."""

    def result(m: Measurement | None, ratio: Ratio | None) -> dict[str, Any] | None:
        return m and {
            "median": m.median,
            "samples": len(m.samples),
            "ratio": ratio and ratio.value,
            "interval": ratio and ratio.interval,
            "reference": m.reference,
            "reference_ratio": m.reference_ratio,
        }

    return {
        "files": [{"path": file.path, "origin": file.origin} for file in files],
        "differs": differing(files),
        "benchmarks": [{"name": row.name, "results": list(map(result, row.measurements, row.ratios))} for row in table],
    }


def text(files: Sequence[Results], table: Sequence[Row], *, color: bool = False, together: bool = False) -> str:
    """What produced the files, and below it their results, as wide as it takes. together: see `compare.rows`."""
    buffer = io.StringIO()
    console = Console(file=buffer, width=10_000, force_terminal=color, highlight=False, markup=False, emoji=False)
    console.print(_origins(files))
    console.print(_results(files, table))
    found = [(m, ratio) for row in table for m, ratio in zip(row.measurements, row.ratios, strict=True) if ratio]
    shown = any(ratio.interval for _, ratio in found)
    interval = f", with its 95 % interval{' (all of them hold at once)' if together else ''}" if shown else ""
    console.print(f"time: median; ratio: to the time in the first file{interval};")
    if not all(ratio.interval for _, ratio in found):
        console.print(
            f"no interval of fewer than {SAMPLES} samples; --benchmark-json or --benchmark-save-data keeps all of them;"
        )
    console.print("× reference: how many times as long the benchmark's reference took there for the same work")
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _origins(files: Sequence[Results]) -> Table:
    out = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for label in ("", *(file.path for file in files), ""):
        out.add_column(Text(label))
    differs = differing(files)
    for field in dict.fromkeys((*SHOWN, *differs)):
        values = (file.origin.get(field, ABSENT) for file in files)
        mark, style = ("≠ differs", "yellow") if field in differs else ("", "")
        out.add_row(field, *map(Text, values), mark, style=style)
    return out


def _results(files: Sequence[Results], table: Sequence[Row]) -> Table:
    out = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    out.add_column("benchmark")
    for number, file in enumerate(files):
        out.add_column(Text(f"{file.path}\ntime"), justify="right")
        if number:
            out.add_column("\nratio", justify="right")
        out.add_column("\n× reference", justify="right")
    module = None
    for row in table:
        before, (module, _, name) = module, row.name.rpartition("::")
        if module != before:
            out.add_section()
            out.add_row(Text(module, "bold"))
        unit, factor = _unit(min(m.median for m in row.measurements if m))
        cells = [f"  {name}"]
        for number, (m, ratio) in enumerate(zip(row.measurements, row.ratios, strict=True)):
            cells.append(f"{_digits(m.median / factor)} {unit}" if m else ABSENT)
            cells += [_ratio_text(ratio)] if number else []
            cells.append(_digits(m.reference_ratio) if m and m.reference_ratio else ABSENT)
        out.add_row(*map(Text, cells))
    return out


def _ratio_text(ratio: Ratio | None) -> str:
    if ratio is None:
        return ABSENT
    interval = f" ({_digits(ratio.interval[0])}–{_digits(ratio.interval[1])})" if ratio.interval else ""
    return _digits(ratio.value) + interval


def _unit(time: float) -> tuple[str, float]:
    """The largest unit of which this time, the smallest of a row, is at least one."""
    return next((unit for unit in UNITS if time >= unit[1]), UNITS[-1])


def _digits(value: float) -> str:
    """At least three significant digits, without an exponent."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"
