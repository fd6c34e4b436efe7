"""`grokbench gate`: is a changed optimizer no later than it was?"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokbench.cli import prints
from grokbench.cli.common import (
    HELD,
    INTERRUPTED,
    MANY,
    REFUTED,
    UNDECIDED,
    declared,
    import_from_here,
    output,
    training_options,
)

if TYPE_CHECKING:
    from grokbench.gates import Request

SKIPPED = 125  # of git bisect run: the present commit cannot be tested
SPEC = "name or 'package.module:Attribute(key=value, …)'"


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("gate", help="is a changed optimizer no later than it was?")
    parser.set_defaults(action=run)
    kinds = f"{SPEC}, a store or a saved baseline"
    parser.add_argument("--baseline", required=True, metavar="SPEC|STORE|FILE", help=kinds)
    parser.add_argument("--candidate", required=True, metavar="SPEC", help=SPEC)
    parser.add_argument("--candidate-path", metavar="DIR", help="import the candidate from this source tree")
    parser.add_argument("--margin", type=float, metavar="M", help="how much later is fine, as a share (default: 0.10)")
    parser.add_argument("--level", type=float, metavar="A", help="one-sided level of each test (default: 0.05)")
    parser.add_argument("--max-pairs", type=int, metavar="N", help="pairs in a cell, at the most (default: 48)")
    parser.add_argument("--fresh", action="store_true", help="train anew what the store has")
    parser.add_argument("--strict", action="store_true", help="exit with code 3 if it is inconclusive")
    parser.add_argument(
        "--bisect", action="store_true", help="for git bisect run: exit with 125 where this commit tells nothing"
    )
    setting_options(parser)
    training_options(parser, "the result")


def setting_options(parser: argparse.ArgumentParser) -> None:
    """What a gate and its baseline are asked for."""
    parser.add_argument("--preset", metavar="NAME", help="smoke, ci or paper (default: the file's, or smoke)")
    parser.add_argument("--task", help="only these tasks of the preset", **MANY)
    parser.add_argument("--softmax", help="only these softmaxes of the preset", **MANY)
    declared(parser, "model")
    parser.add_argument("--budget", type=int, metavar="N", help="epochs of a run (default: the preset's)")


def request_of(options: argparse.Namespace, **more: Any) -> Request:
    """What was asked for, with the gate's own defaults."""
    from grokbench.gates import Request

    import_from_here()
    given = {
        "preset": options.preset,
        "tasks": tuple(options.task),
        "softmaxes": tuple(options.softmax),
        "model": options.model,
        "budget": options.budget,
        "store": Path(options.store).absolute(),
        "device": options.device,
        "threads": options.threads,
        **more,
    }
    return Request(**{name: value for name, value in given.items() if value is not None})


def run(options: argparse.Namespace) -> int:
    """Answer, and print it."""
    from grokbench import gates
    from grokbench.gates.decision import GateOutcome
    from grokbench.records import files
    from grokbench.report import gate as report
    from grokbench.report import github, layout, progress

    request = request_of(
        options,
        baseline=options.baseline,
        candidate=options.candidate,
        margin=options.margin,
        level=options.level,
        max_pairs=options.max_pairs,
        candidate_path=Path(options.candidate_path) if options.candidate_path else None,
        since=time.time() if options.fresh else 0.0,
    )
    if request.candidate_path:
        sys.stderr.write(f"the candidate from {request.candidate_path} trains in a process of its own\n")
    with prints.kept() as lines, progress.watching() as listener:  # a live display leaves as it found it
        result = gates.run(request, listener)
    prints.tell(lines, "an optimizer")
    out = output(options.json)
    out.write(report.text(result, layout.width_of(out), color=out.isatty()))
    github.annotate(report.publish(result), out)
    if options.json:
        files.write_line(options.json, report.document(result))
    if result.outcome is GateOutcome.REGRESSION:
        return REFUTED
    return UNDECIDED if (options.strict or options.bisect) and not result.passed else HELD


def bisected(code: object) -> int:
    """The exit code for `git bisect run`: 0 good, 1 bad, 125 to skip a commit; above 127 it ends.

    A commit is skipped where the answer is open, the machine failed, or the optimizer could not be had there.
    """
    known = {None: HELD, HELD: HELD, REFUTED: REFUTED, INTERRUPTED: INTERRUPTED}
    return known.get(code, SKIPPED) if code is None or isinstance(code, int) else SKIPPED
