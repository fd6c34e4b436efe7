"""`grokbench judge`: verdicts on your own grok times."""

from __future__ import annotations

import argparse
from typing import Any

from grokbench.cli.common import exit_code, json_option, output


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("judge", help="verdicts on your own grok times")
    parser.set_defaults(action=run)
    parser.add_argument(
        "file", metavar="FILE", help="a table with the columns arm, replica, time; - for standard input"
    )
    parser.add_argument("--baseline", metavar="ARM", help="the arm that others are compared with (default: the first)")
    parser.add_argument("--budget", type=float, metavar="T", help="cut all runs at this time")
    parser.add_argument("--unpaired", action="store_true", help="replicas of different arms share nothing")
    parser.add_argument("--early-stop", action="store_true", help="pairs came in one by one: anytime-valid verdicts")
    json_option(parser, "the verdicts")
    parser.add_argument("--strict", action="store_true", help="exit with code 3 if anything is undecided")


def run(options: argparse.Namespace) -> int:
    """Judge the file and print the tables."""
    from grokbench.records import files
    from grokbench.report import export, layout, terminal
    from grokbench.verdicts import reading, table

    rows = reading.read(options.file, options.budget)
    verdicts = table.verdicts_of(rows, options.baseline, paired=not options.unpaired, sequential=options.early_stop)
    if options.json:
        files.prepare(options.json, options.file)
    out = output(options.json)
    out.writelines(f"{line}\n" for line in table.remarks(rows, options.baseline))
    out.write(terminal.text(verdicts, (), layout.width_of(out), color=out.isatty()))
    if options.json:
        export.write(options.json, verdicts, ())
    return exit_code(verdicts, strict=options.strict)
