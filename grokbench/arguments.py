"""What the command line takes; `cli` says what it does."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def parser(description: str) -> argparse.ArgumentParser:
    """The parser; what it finds has the command's name in `command`."""
    from grokbench.listing import LISTS
    from grokbench.session import DEFAULT_PRESET, DEFAULT_STORE

    top = Parser(prog="grokbench", description=description)
    commands = top.add_subparsers(required=True, metavar="command")
    run = commands.add_parser("run", help="train what is missing and print the verdicts")
    run.set_defaults(command="run")
    run.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME", help="smoke, ci or paper (default: ci)")
    many = {"action": "extend", "nargs": "+", "default": [], "metavar": "NAME"}
    run.add_argument("--task", help="only these tasks of the preset", **many)  # type: ignore[arg-type]
    run.add_argument("--softmax", help="only these softmaxes of the preset", **many)  # type: ignore[arg-type]
    run.add_argument(
        "--optimizer",
        action="append",
        default=[],
        metavar="SPEC",
        help="name or 'package.module:Attribute(key=value, …)'; repeatable, the first is the baseline",
    )
    papers = {**many, "metavar": "PAPER"}
    run.add_argument("--claims", help="all claims of these papers (default: only who is earlier)", **papers)  # type: ignore[arg-type]
    protocol = "published (default), matched or tuned: how the arms get their rates and decays"
    run.add_argument("--protocol", help=protocol, **many)  # type: ignore[arg-type]
    run.add_argument("--no-early-stop", action="store_true", help="train all replicas, and test them once")
    run.add_argument("--replicas", type=int, metavar="N", help="replicas of each arm in each cell, at the most")
    _shared(run, "verdicts, runs and provenance")
    run.add_argument("--fresh", action="store_true", help="train anew what the store has")
    run.add_argument("--strict", action="store_true", help="exit with code 3 if a claim is undecided")

    choices = commands.add_parser("list", help="what there is to choose from")
    choices.set_defaults(command="list")
    choices.add_argument("what", choices=sorted(LISTS))
    doctor = commands.add_parser("doctor", help="what machine this is, and what it can do")
    doctor.set_defaults(command="doctor")
    compare = commands.add_parser("compare", help="benchmark results of several machines, side by side")
    compare.set_defaults(command="compare")
    compare.add_argument("files", nargs="+", metavar="FILE", help="JSON of pytest-benchmark; the first is the baseline")
    compare.add_argument("--unlike", action="store_true", help="compare even though the machines differ")
    compare.add_argument("--json", metavar="PATH", help="write the table as JSON; - for standard output")

    check = commands.add_parser("check", help="what an optimizer has to keep to, checked")
    check.set_defaults(command="check")
    check.add_argument("optimizers", nargs="+", metavar="SPEC", help="as for run; package.module:* for all of a module")
    check.add_argument("--json", metavar="PATH", help="write the findings as JSON; - for standard output")

    _gate_parsers(commands)
    _perf_parser(commands)

    judge = commands.add_parser("judge", help="verdicts on your own grok times")
    judge.set_defaults(command="judge")
    judge.add_argument("file", metavar="FILE", help="CSV with the columns cell,arm,replica,time,event")
    judge.add_argument("--baseline", metavar="ARM", help="the arm that others are compared with (default: the first)")
    judge.add_argument("--unpaired", action="store_true", help="replicas of different arms share nothing")
    judge.add_argument("--early-stop", action="store_true", help="pairs came in one by one: anytime-valid verdicts")
    judge.add_argument("--json", metavar="PATH", help="write the verdicts as JSON; - for standard output")
    judge.add_argument("--strict", action="store_true", help="exit with code 3 if anything is undecided")

    power = commands.add_parser("power", help="how many pairs a question needs")
    power.set_defaults(command="power")
    power.add_argument("--ratio", type=float, metavar="R", help="true time ratio (default: 0.7)")
    power.add_argument("--spread", type=float, metavar="S", help="deviation of log ratios (default: 0.4)")
    power.add_argument("--ties", type=float, default=0.0, metavar="T", help="share of tied pairs (default: 0)")
    power.add_argument("--cells", type=int, metavar="N", help="cells that are corrected for (default: 1)")
    power.add_argument("--level", type=float, default=0.05, metavar="A", help="one-sided level (default: 0.05)")
    power.add_argument("--from", dest="store", metavar="STORE", help="ratios and spreads as found in a store")
    power.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME", help="whose cells (default: ci)")

    sweep = commands.add_parser("sweep", help="the map of the grok time over rate and weight decay")
    sweep.set_defaults(command="sweep")
    sweep.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME", help="smoke, ci or paper (default: ci)")
    sweep.add_argument("--task", default="add", metavar="NAME", help="a task of the preset (default: add)")
    sweep.add_argument("--softmax", default="softmax", metavar="NAME", help="a softmax (default: softmax)")
    sweep.add_argument("--optimizer", default="adamw", metavar="SPEC", help="as for run (default: adamw)")
    grid = "lr=0.01,0.02 weight_decay=0.1,1 (default: the preset's)"
    sweep.add_argument("--grid", nargs="+", default=[], metavar="KEY=VALUES", help=grid)
    sweep.add_argument("--replicas", type=int, metavar="N", help="replicas at each point (default: 2)")
    _shared(sweep, "the map")

    show = commands.add_parser("show", help="everything that is known of a run")
    show.set_defaults(command="show")
    show.add_argument("run", metavar="RUN", help="the beginning of its digest, as --json gives it")
    show.add_argument(
        "--store", default=DEFAULT_STORE, metavar="PATH", help="file of finished runs (default: %(default)s)"
    )
    return top


def _gate_parsers(commands: Any) -> None:
    spec = "name or 'package.module:Attribute(key=value, …)'"
    gate = commands.add_parser("gate", help="is a changed optimizer no later than it was?")
    gate.set_defaults(command="gate")
    kinds = f"{spec}, a store or a saved baseline"
    gate.add_argument("--baseline", required=True, metavar="SPEC|STORE|FILE", help=kinds)
    gate.add_argument("--candidate", required=True, metavar="SPEC", help=spec)
    gate.add_argument("--candidate-path", metavar="DIR", help="import the candidate from this source tree")
    gate.add_argument("--margin", type=float, metavar="M", help="how much later is fine, as a share (default: 0.10)")
    gate.add_argument("--level", type=float, metavar="A", help="one-sided level of each test (default: 0.05)")
    gate.add_argument("--max-pairs", type=int, metavar="N", help="pairs in a cell, at the most (default: 48)")
    gate.add_argument("--fresh", action="store_true", help="train anew what the store has")
    gate.add_argument("--strict", action="store_true", help="exit with code 3 if it is inconclusive")
    baseline = commands.add_parser("baseline", help="finished runs in a small file, for a gate")
    actions = baseline.add_subparsers(required=True, metavar="save")
    save = actions.add_parser("save", help="train them and write the file")
    save.set_defaults(command="baseline")
    save.add_argument("file", metavar="FILE", help="JSON, to be kept beside the optimizer")
    save.add_argument("--optimizer", required=True, metavar="SPEC", help=spec)
    save.add_argument("--pairs", type=int, default=48, metavar="N", help="replicas in each cell (default: 48)")
    many = {"action": "extend", "nargs": "+", "default": [], "metavar": "NAME"}
    for parser, what in ((gate, "the result"), (save, None)):
        parser.add_argument("--preset", metavar="NAME", help="smoke, ci or paper (default: the file's, or smoke)")
        parser.add_argument("--task", help="only these tasks of the preset", **many)
        parser.add_argument("--softmax", help="only these softmaxes of the preset", **many)
        parser.add_argument("--budget", type=int, metavar="N", help="epochs of a run (default: the preset's)")
        _shared(parser, what)


def _perf_parser(commands: Any) -> None:
    perf = commands.add_parser("perf", help="how long a changed optimizer takes, against what it was")
    perf.set_defaults(command="perf")
    perf.add_argument("--baseline", default="muon", metavar="SPEC", help="as for run (default: muon)")
    perf.add_argument("--candidate", metavar="SPEC", help="as for run")
    perf.add_argument("--candidate-path", metavar="DIR", help="import the candidate from this source tree")
    perf.add_argument("--self-test", action="store_true", help="the baseline against itself, and slowed down")
    perf.add_argument("--preset", metavar="NAME", help="whose model and batch (default: ci)")
    perf.add_argument("--replicas", type=int, metavar="N", help="stacked replicas (default: 8)")
    perf.add_argument("--seconds", type=float, metavar="S", help="of each of the two races, roughly (default: 10)")
    perf.add_argument("--margin", type=float, metavar="M", help="slower by less, as a share, is alike (default: 0.05)")
    perf.add_argument("--floor", type=float, metavar="US", help="microseconds a step that do not count (default: 20)")
    perf.add_argument("--json", metavar="PATH", help="write all samples as JSON; - for standard output")
    perf.add_argument("--device", metavar="DEVICE", help="auto, cpu or cuda (default: auto)")
    perf.add_argument("--threads", type=int, metavar="N", help="processor threads (default: 1, as in training)")


def _shared(parser: argparse.ArgumentParser, what: str | None) -> None:
    """Options of every command that trains."""
    from grokbench.session import DEFAULT_STORE

    store = {"default": DEFAULT_STORE, "metavar": "PATH"}
    parser.add_argument("--store", help="file of finished runs (default: %(default)s)", **store)  # type: ignore[arg-type]
    if what:
        parser.add_argument("--json", metavar="PATH", help=f"write {what} as JSON; - for standard output")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="processes of one thread each, on a processor (default: its cores)"
    )
