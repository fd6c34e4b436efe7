"""`grokbench run`: train what is missing and print the verdicts."""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from grokbench.cli.common import declared, exit_code, import_from_here, output
from grokbench.options import BY_NAME, Options, chosen
from grokbench.spec import UsageError


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("run", help="train what is missing and print the verdicts")
    parser.set_defaults(action=run)
    declared(parser, *BY_NAME)


def run(options: argparse.Namespace) -> int:
    """Train what is missing, print the verdicts, and say by the exit code what they mean."""
    from grokbench.report import formats, github, layout, progress, summary, terminal
    from grokbench.session import Session, cases

    import_from_here()
    paths = formats.asked(vars(options).get)
    asked = options_of(options)
    selected = cases(asked)
    if asked.device != "auto":  # refuse before anything is written
        from grokbench.training.local import resolve_device

        resolve_device(asked.device)
    failure: BaseException | None = None
    with progress.watching() as listener, Session(asked, selected, listener=listener) as session:
        try:
            session.train()
        except UsageError:
            raise
        except (Exception, KeyboardInterrupt) as error:  # what is finished is shown all the same
            failure = error
        try:
            verdicts, runs = session.answers()
        except Exception:  # of a store that is gone or damaged; what failed first says more
            if failure:
                raise failure from None
            raise
    out = output(options.json)
    out.write(terminal.text(verdicts, runs, layout.width_of(out), color=out.isatty()))
    github.annotate(summary.verdicts(verdicts, strict=options.strict), out)
    formats.write(paths, verdicts, runs)
    if failure:
        raise failure
    return exit_code(verdicts, strict=options.strict)


def options_of(options: argparse.Namespace) -> Options:
    """What the command line says, as what a session takes."""
    given = vars(options)
    found = chosen(lambda name: given[name.replace("-", "_")], since=time.time() if options.fresh else 0.0)
    return replace(found, store=Path(found.store).absolute())
