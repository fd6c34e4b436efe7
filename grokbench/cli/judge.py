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
    parser.add_argument(
        "--budget", type=budget, metavar="T", help="cut all runs at this time; least: by cell at the earliest stop"
    )
    parser.add_argument(
        "--every", type=float, metavar="STEP", help="round all times up, as if every arm was evaluated so often"
    )
    parser.add_argument("--value", metavar="NAME", help="judge this column, such as a loss, instead of times")
    side = parser.add_mutually_exclusive_group()
    side.add_argument("--lower", dest="better", action="store_const", const="lower", help="a lower value is better")
    side.add_argument("--higher", dest="better", action="store_const", const="higher", help="a higher value is better")
    parser.add_argument("--target", type=float, metavar="X", help="compare each arm with this number, not with an arm")
    parser.add_argument(
        "--sign-test",
        action="store_true",
        help="with --target: count only which runs lie on which side of it, for values that are skewed",
    )
    parser.add_argument("--unpaired", action="store_true", help="replicas of different arms share nothing")
    parser.add_argument(
        "--blocks",
        default="replica",
        metavar="KIND",
        help="what is independent: replica (equal numbers in several cells are one block; the default), or cell",
    )
    parser.add_argument(
        "--family",
        default="file",
        metavar="NAME",
        help="correct over all arms and cells of the file (file, the default), or over the cells of each arm alone "
        "(selected), for arms that were chosen before any data were seen",
    )
    parser.add_argument(
        "--early-stop",
        action="store_true",
        help="pairs came in one by one, in the order of the file or of its column 'order': anytime-valid verdicts",
    )
    json_option(parser, "the verdicts")
    parser.add_argument("--strict", action="store_true", help="exit with code 3 if anything is undecided")


def budget(text: str) -> float | str:
    """A budget as it is given."""
    try:
        return float(text)
    except ValueError:
        return text


def run(options: argparse.Namespace) -> int:
    """Judge the file and print the table."""
    from grokbench.records import files
    from grokbench.report import judged as report
    from grokbench.report import layout
    from grokbench.verdicts import table

    judged = table.judge(
        options.file,
        options.baseline,
        budget=options.budget,
        every=options.every,
        value=options.value,
        better=options.better,
        target=options.target,
        paired=not options.unpaired,
        sequential=options.early_stop,
        family=options.family,
        blocks=options.blocks,
        sign_test=options.sign_test,
    )
    out = output(options.json)
    out.write(report.text(judged, layout.width_of(out), color=out.isatty()))
    if options.json:
        files.write_line(options.json, report.document(judged))
    return exit_code(judged.verdicts, strict=options.strict)
