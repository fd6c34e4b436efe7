"""`grokbench perf`: how long a changed optimizer takes, against what it was."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from grokbench.cli import prints
from grokbench.cli.common import HELD, REFUTED, declared, import_from_here, json_option, output
from grokbench.spec import UsageError

if TYPE_CHECKING:
    from grokbench.perf import Request


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("perf", help="how long a changed optimizer takes, against what it was")
    parser.set_defaults(action=run)
    parser.add_argument("--baseline", default="muon", metavar="SPEC", help="as for run (default: muon)")
    parser.add_argument("--candidate", metavar="SPEC", help="as for run")
    parser.add_argument("--candidate-path", metavar="DIR", help="import the candidate from this source tree")
    parser.add_argument("--self-test", action="store_true", help="the baseline against itself, and slowed down")
    parser.add_argument("--preset", metavar="NAME", help="whose model and batch (default: ci)")
    declared(parser, "model")
    parser.add_argument("--replicas", type=int, metavar="N", help="stacked replicas (default: 8)")
    parser.add_argument("--seconds", type=float, metavar="S", help="of each of the two races, roughly (default: 10)")
    parser.add_argument(
        "--margin", type=float, metavar="M", help="slower by less, as a share, is alike (default: 0.05)"
    )
    parser.add_argument("--floor", type=float, metavar="US", help="microseconds a step that do not count (default: 20)")
    json_option(parser, "all samples")
    parser.add_argument("--device", metavar="DEVICE", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: 1, as in training)")


def run(options: argparse.Namespace) -> int:
    """Time, and print it."""
    from grokbench import perf
    from grokbench.records import files
    from grokbench.report import github, layout
    from grokbench.report import perf as report

    import_from_here()
    if not options.candidate and not options.self_test:
        raise UsageError("perf needs --candidate, or --self-test")
    names = ("preset", "model", "replicas", "seconds", "margin", "device", "threads")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.candidate_path:
        given["candidate_path"] = Path(options.candidate_path)
    if options.floor is not None:
        given["floor"] = options.floor * 1e-6
    request = perf.Request(options.baseline, options.candidate or options.baseline, **given)
    races = 4 if options.self_test else 2
    sys.stderr.write(
        f"{races} races of about {request.seconds:g} seconds, or as long as 24 rounds of four calls take\n"
    )
    out = output(options.json)
    if options.self_test:
        return _self_test(request, options.json, out)
    with prints.kept() as lines:
        result = perf.run(request)
    prints.tell(lines, "an optimizer")
    out.write(report.text(result, layout.width_of(out), color=out.isatty()))
    github.annotate(report.publish(result), out)
    if options.json:
        files.write_line(options.json, report.document(result))
    return REFUTED if result.slower else HELD


def _self_test(request: Request, json: str | None, out: TextIO) -> int:
    from grokbench import perf
    from grokbench.records import files
    from grokbench.report import perf as report

    same, slowed = perf.self_test(request)
    quiet = all(timing.verdict in ("alike", "undecided") for timing in same.timings)
    seen = all(timing.verdict == "slower" for timing in slowed.timings)
    out.write("The baseline against itself:\n" + report.text(same, color=out.isatty()))
    out.write(f"\nThe same with {perf.SLOWDOWN:g} times planted:\n" + report.text(slowed, color=out.isatty()))
    words = ("not flagged" if quiet else "FLAGGED", "flagged" if seen else "MISSED")
    out.write(f"\nself-test: identical code is {words[0]}, the planted slowdown is {words[1]}\n")
    if json:
        figures = {"identical": report.document(same), "planted": report.document(slowed), "passed": quiet and seen}
        files.write_line(json, figures)
    return HELD if quiet and seen else REFUTED
