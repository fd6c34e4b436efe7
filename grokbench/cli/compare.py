"""`grokbench compare`: benchmark results of several machines, side by side."""

from __future__ import annotations

import argparse
from typing import Any

from grokbench.cli.common import HELD, json_option, output


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("compare", help="benchmark results of several machines, side by side")
    parser.set_defaults(action=run)
    parser.add_argument("files", nargs="+", metavar="FILE", help="JSON of pytest-benchmark; the first is the baseline")
    parser.add_argument("--unlike", action="store_true", help="compare even though the machines differ")
    json_option(parser, "the table")


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from grokbench.perf import compare
    from grokbench.records import files
    from grokbench.report import compare as report

    results = [compare.read(path) for path in options.files]
    table = compare.rows(results)
    if not options.unlike:
        compare.alike(results, table)
    if options.json:
        files.prepare(options.json, *options.files)
    out = output(options.json)
    out.write(report.text(results, table, color=out.isatty()))
    if options.json:
        files.write_line(options.json, report.document(results, table))
    return HELD
