"""`grokbench times`: learning curves to a table of times, for `grokbench judge`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from grokbench.cli.common import HELD


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("times", help="learning curves to a table of times, for judge")
    parser.set_defaults(action=run)
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="CSV, JSON lines, a wandb export, TensorBoard's event files or a folder of them; - for standard input",
    )
    parser.add_argument("--metric", required=True, metavar="NAME", help="the column that has to reach a threshold")
    parser.add_argument("--above", type=float, metavar="X", help="it is reached at X or more")
    parser.add_argument("--below", type=float, metavar="X", help="it is reached at X or less, as a loss is")
    parser.add_argument(
        "--hold", type=int, default=0, metavar="N", help="N further evaluations have to reach it, too (default: 0)"
    )
    parser.add_argument(
        "--settle",
        type=settled,
        metavar="NAME=X",
        help="first NAME, as train_acc, has to be X or more in evaluations in a row, and to stay",
    )
    parser.add_argument("--settle-for", type=int, default=3, metavar="N", help="in how many (default: 3)")
    parser.add_argument("--step", metavar="NAME", help="the column of the time, where there are several")
    parser.add_argument(
        "--runs", metavar="PATTERN", help="how runs or files are named, as in '{cell}-{arm}-seed{replica}'"
    )


def settled(text: str) -> tuple[str, float]:
    """NAME=X."""
    name, _, threshold = text.rpartition("=")
    if not name:
        raise ValueError(text)
    return name, float(threshold)


def run(options: argparse.Namespace) -> int:
    """Print the table; what is to be said goes to standard error, so that the table can be piped on."""
    from grokbench.verdicts import curves

    found = curves.times(
        options.files,
        options.metric,
        above=options.above,
        below=options.below,
        hold=options.hold,
        settled=options.settle,
        settle=options.settle_for,
        step=options.step,
        runs=options.runs,
    )
    sys.stderr.writelines(f"{note}\n" for note in found.notes)
    sys.stdout.write(curves.table(found.rows))
    return HELD
