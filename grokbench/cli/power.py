"""How many pairs a question needs, as a table. Torch-free."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from grokbench.cli.common import HELD
from grokbench.spec import UsageError

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
    parser.add_argument("--from", dest="store", metavar="STORE", help="ratios and spreads as found in a store")
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
    sys.stdout.write(_of_store(options) if options.store else _of_ratio(options))
    return HELD


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
    from grokbench.stats import power
    from grokbench.verdicts import evidence

    chosen = Options(preset=options.preset, store=Path(options.store))
    session = Session(chosen, [case for case in cases(chosen) if case.cell], write=False)
    lines = [
        f"Pairs for 80 % at level {options.level:g} if a cell's log ratios are as found in {options.store}:",
        "",
        f"{'cell':<18}{'pairs':>6}{'ratio':>8}{'spread':>8}{'ties':>7}{'early stop':>12}{'all at once':>13}",
    ]
    try:
        session.missing(session.selected)
        for claim, cell in session.selected:
            assert isinstance(claim, Claim)
            assert cell
            count = options.cells or len(claim.cells)
            held = evidence.hold(claim, cell, session.records).pairs
            gaps = held.differences
            if len(gaps) < 2 or not gaps.any():
                continue
            moved = gaps[gaps != 0]
            ratio, spread, ties = np.exp(moved.mean()), moved.std(ddof=1) if len(moved) > 1 else 0.0, (gaps == 0).mean()
            need = power.need(float(ratio), float(spread), count, options.level, 0.8, float(ties))
            lines.append(
                f"{cell!s:<18}{len(gaps):>6}{ratio:>8.2f}{spread:>8.2f}{ties:>7.0%}"
                f"{_count(need.sequential):>12}{_count(need.fixed):>13}"
            )
    finally:
        session.close()
    if len(lines) == 3:
        raise UsageError(
            f"{options.store} has no finished cell of the preset {options.preset}: choose another --preset"
        )
    return "\n".join(lines) + "\n"
