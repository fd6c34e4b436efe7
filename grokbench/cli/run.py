"""`grokbench run`: train what is missing and print the verdicts."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokbench.cli.common import (
    HELD,
    INTERRUPTED,
    MACHINE,
    MANY,
    exit_code,
    import_from_here,
    output,
    training_options,
)
from grokbench.spec import UsageError

if TYPE_CHECKING:
    from grokbench.session import Options


def add(commands: Any) -> None:
    """The command's parser."""
    from grokbench.session import DEFAULT_PRESET

    parser = commands.add_parser("run", help="train what is missing and print the verdicts")
    parser.set_defaults(action=run)
    parser.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME", help="smoke, ci or paper (default: ci)")
    parser.add_argument("--task", help="only these tasks of the preset", **MANY)
    parser.add_argument("--softmax", help="only these softmaxes of the preset", **MANY)
    parser.add_argument(
        "--optimizer",
        action="append",
        default=[],
        metavar="SPEC",
        help="name or 'package.module:Attribute(key=value, …)'; repeatable, the first is the baseline",
    )
    papers = {**MANY, "metavar": "PAPER"}
    parser.add_argument("--claims", help="all claims of these papers (default: only who is earlier)", **papers)
    protocol = "published (default), matched or tuned: how the arms get their rates and decays"
    parser.add_argument("--protocol", help=protocol, **MANY)
    parser.add_argument("--no-early-stop", action="store_true", help="train all replicas, and test them once")
    parser.add_argument("--replicas", type=int, metavar="N", help="replicas of each arm in each cell, at the most")
    training_options(parser, "verdicts, runs and provenance")
    parser.add_argument("--fresh", action="store_true", help="train anew what the store has")
    parser.add_argument("--strict", action="store_true", help="exit with code 3 if a claim is undecided")


def run(options: argparse.Namespace) -> int:
    """Train what is missing, print the verdicts, and say by the exit code what they mean."""
    from rich.console import Console

    from grokbench.records import files
    from grokbench.report import export, github, progress, summary, terminal
    from grokbench.session import Session, cases

    import_from_here()
    chosen = options_of(options)
    selected = cases(chosen)
    if options.device != "auto":  # refuse before anything is written
        from grokbench.training.local import resolve_device

        resolve_device(options.device)
    if options.json:
        files.check(options.json)
    code, failure = HELD, ""
    with progress.watching() as listener, Session(chosen, selected, listener=listener) as session:
        try:
            session.train()
        except KeyboardInterrupt:
            code, failure = INTERRUPTED, "interrupted"
        except UsageError:
            raise
        except Exception as error:  # what is finished is shown all the same
            code, failure = MACHINE, f"the machine failed: {type(error).__name__}: {error}"
        verdicts, runs = session.answers()
    out = output(options.json)
    out.write(terminal.text(verdicts, runs, Console(file=out).width, color=out.isatty()))
    github.annotate(summary.verdicts(verdicts, strict=options.strict), out)
    if options.json:
        export.write(options.json, verdicts, runs)
    if failure:
        sys.stderr.write(f"grokbench: {failure}; finished runs are in the store\n")
    return code or exit_code(verdicts, strict=options.strict)


def options_of(options: argparse.Namespace) -> Options:
    """What the command line says, as what a session takes."""
    from grokbench.claims.protocols import PROTOCOLS
    from grokbench.session import Options

    return Options(
        preset=options.preset,
        tasks=tuple(options.task),
        softmaxes=tuple(options.softmax),
        optimizers=tuple(options.optimizer),
        claims=tuple(options.claims),
        protocols=tuple(options.protocol) or PROTOCOLS[:1],
        early_stop=not options.no_early_stop,
        replicas=options.replicas,
        store=Path(options.store).absolute(),
        device=options.device,
        threads=options.threads,
        since=time.time() if options.fresh else 0.0,
    )
