"""How many pairs a question needs, as a table. Torch-free."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from grokbench.cli import streams
from grokbench.cli.common import HELD
from grokbench.spec import UsageError

if TYPE_CHECKING:
    from grokbench.stats.paired import Floats

RATIO, SPREAD = 0.7, 0.4
POWERS = (0.5, 0.8, 0.95)


def add(commands: Any) -> None:
    """The command's parser."""
    from grokbench.options import DEFAULT_PRESET

    parser = commands.add_parser("power", help="how many pairs a question needs")
    parser.set_defaults(action=run)
    parser.add_argument("--ratio", type=float, metavar="R", help="true time ratio (default: 0.7)")
    parser.add_argument("--spread", type=float, metavar="S", help="deviation of log ratios (default: 0.4)")
    parser.add_argument("--ties", type=float, default=0.0, metavar="T", help="share of tied pairs (default: 0)")
    parser.add_argument("--cells", type=int, metavar="N", help="cells that are corrected for (default: 1)")
    parser.add_argument("--level", type=float, default=0.05, metavar="A", help="one-sided level (default: 0.05)")
    parser.add_argument(
        "--from",
        dest="store",
        metavar="PATH",
        help="ratios and spreads as found in a store, or in a table of times as judge reads it",
    )
    parser.add_argument("--baseline", metavar="ARM", help="of a table, the arm to compare with (default: the first)")
    parser.add_argument("--budget", metavar="T", help="of a table, as for judge")
    parser.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME", help="whose cells (default: ci)")


def run(options: argparse.Namespace) -> int:
    """Print the table for the ratio that was given, or for the cells of a store."""
    if options.store and (options.ratio or options.spread):
        raise UsageError("--from takes ratio and spread from the store: leave out --ratio and --spread")
    checks: tuple[tuple[str, float | None, Callable[[float], bool], str], ...] = (
        ("ratio", options.ratio, lambda x: 0 < x < 1e6 and x != 1, "above 0 and not 1"),
        ("spread", options.spread, lambda x: 0 < x < 100, "above 0"),
        ("ties", options.ties, lambda x: 0 <= x < 1, "in [0, 1)"),
        ("cells", options.cells, lambda x: 1 <= x <= 10_000, "at least 1"),
        ("level", options.level, lambda x: 0 < x < 1, "in (0, 1)"),
    )
    for name, value, valid, rule in checks:
        if value is not None and not valid(value):
            raise UsageError(f"{name} must be {rule}, not {value!r}")
    found = _of_ratio if not options.store else _of_table if _is_table(options.store) else _of_store
    if found is not _of_table and (options.baseline or options.budget):
        raise UsageError("--baseline and --budget are of a table: --from FILE")
    sys.stdout.write(streams.wrapped(found(options), sys.stdout))
    return HELD


def _is_table(path: str) -> bool:
    """Whether it is read as `judge` reads; an empty file may be a store."""
    if path == "-":
        return True
    file = Path(path)
    return file.is_file() and file.stat().st_size > 0 and file.read_bytes()[:6] != b"SQLite"


def _of_table(options: argparse.Namespace) -> str:
    from grokbench.cli.judge import budget
    from grokbench.verdicts import table

    asked = table.evidence_of(options.store, options.baseline, options.budget and budget(options.budget))
    cells = options.cells or sum(len(found) for _, found in asked)
    rows = [
        row
        for question, found in asked
        for e in found
        if (row := _row(f"{question.labels[1]} {e.cell}" * (cells > 1) or "all", e.differences, cells, options.level))
    ]
    if not rows:
        raise UsageError(f"{options.store} has no cell with two pairs that differ: nothing tells how they vary")
    return "\n".join([*_heading(options), *rows]) + "\n"


def _heading(options: argparse.Namespace) -> list[str]:
    return [
        f"Pairs for 80 % at level {options.level:g} if a cell's log ratios are as found in {options.store}:",
        "",
        f"{'cell':<18}{'pairs':>6}{'ratio':>8}{'spread':>8}{'ties':>7}{'early stop':>12}{'all at once':>13}",
    ]


def _row(name: str, gaps: Floats, cells: int, level: float) -> str:
    """A line of the table, none where the pairs do not tell how they vary."""
    from grokbench.stats import power

    if len(gaps) < 2 or not gaps.any():
        return ""
    moved = gaps[gaps != 0]
    ratio, spread, ties = np.exp(moved.mean()), moved.std(ddof=1) if len(moved) > 1 else 0.0, (gaps == 0).mean()
    need = power.need(float(ratio), float(spread), cells, level, 0.8, float(ties))
    return (
        f"{name:<18}{len(gaps):>6}{ratio:>8.2f}{spread:>8.2f}{ties:>7.0%}"
        f"{_count(need.sequential):>12}{_count(need.fixed):>13}"
    )


def _of_ratio(options: argparse.Namespace) -> str:
    from grokbench.stats import power

    ratio, spread, cells = options.ratio or RATIO, options.spread or SPREAD, options.cells or 1
    lines = [
        f"Pairs in each of {cells} cells to find a time ratio of {ratio:g} at level {options.level:g}, where the log",
        f"ratios of pairs have a standard deviation of {spread:g} and {options.ties:.0%} of pairs are ties:",
        "",
        f"{'probability':>12}{'early stop':>14}{'all at once':>14}",
    ]
    for chance in POWERS:
        need = power.need(ratio, spread, cells, options.level, chance, options.ties)
        lines.append(f"{chance:>12.0%}{_count(need.sequential):>14}{_count(need.fixed):>14}")
    return "\n".join(lines) + "\n"


def _count(pairs: int | None) -> str:
    from grokbench.stats import power

    return f"over {power.MOST}" if pairs is None else str(pairs)


def _of_store(options: argparse.Namespace) -> str:
    from grokbench.claims import Claim
    from grokbench.options import Options
    from grokbench.session import Session, cases
    from grokbench.verdicts import evidence

    chosen = Options(preset=options.preset, store=Path(options.store))
    session = Session(chosen, [case for case in cases(chosen) if case.cell], write=False)
    lines = _heading(options)
    try:
        session.missing(session.selected)
        for claim, cell in session.selected:
            assert isinstance(claim, Claim)
            assert cell
            count = options.cells or len(claim.cells)
            held = evidence.hold(claim, cell, session.records).pairs
            lines += [row] if (row := _row(str(cell), held.differences, count, options.level)) else []
    finally:
        session.close()
    if len(lines) == 3:
        raise UsageError(
            f"{options.store} has no finished cell of the preset {options.preset}: choose another --preset"
        )
    return "\n".join(lines) + "\n"
