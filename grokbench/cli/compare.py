"""`grokbench compare`: benchmark results of several machines, side by side."""

from __future__ import annotations

import argparse
from typing import Any

from grokbench.cli.common import HELD, REFUTED, json_option, output


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("compare", help="benchmark results of several machines, side by side")
    parser.set_defaults(action=run)
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON of pytest-benchmark; the first is the baseline")
    parser.add_argument("--unlike", action="store_true", help="compare even though the machines differ")
    parser.add_argument(
        "--fail",
        type=share,
        metavar="SHARE",
        help="exit with code 1 if a benchmark is surely slower by more than this, as in 5%%: its whole interval is",
    )
    json_option(parser, "the table")


def share(text: str) -> float:
    """5% or 0.05."""
    share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    if not 0 <= share < 100:
        raise ValueError(text)
    return share


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from grokbench.perf import compare
    from grokbench.records import files
    from grokbench.report import compare as report

    results = [compare.read(path) for path in options.files]
    table = compare.rows(results, together=options.fail is not None)
    if not options.unlike:
        compare.alike(results, table)
    out = output(options.json)
    late = [] if options.fail is None else compare.slower(table, options.fail)
    out.write(report.text(results, table, color=out.isatty(), together=options.fail is not None))
    for name, number, ratio in late:
        out.write(
            f"FAIL: {name} takes {ratio.value:.3g} times as long in {results[number].path}, "
            f"surely more than {1 + options.fail:g}\n"
        )
    if options.json:
        files.write_line(options.json, report.document(results, table))
    return REFUTED if late else HELD
