"""The command line of grokbench; `grokbench --help` lists its commands."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence

from grokbench.cli import (
    baseline,
    check,
    compare,
    doctor,
    failures,
    gate,
    guide,
    help,
    judge,
    list,
    perf,
    power,
    run,
    show,
    streams,
    sweep,
    times,
)
from grokbench.cli.common import USAGE, Parser, inputs
from grokbench.records import files
from grokbench.records.provenance import VERSION
from grokbench.report import signs
from grokbench.training import cores

COMMANDS = (run, list, doctor, compare, check, gate, baseline, perf, judge, times, power, sweep, show, guide)
ABOUT = (
    "Does this optimizer make a model generalise earlier, and can I trust the answer? Begin with "
    "'grokbench run --preset smoke', which takes half a minute, and 'grokbench guide first-steps', which explains it. "
    "'grokbench COMMAND --help' ends with examples."
)
EXIT_CODES = (
    "Exit codes: 0 all asserted claims hold or are undecided, 1 one is refuted, 2 what you asked for cannot be used, "
    "3 one is undecided under --strict, 4 the machine failed, 130 interrupted."
)


def parser() -> Parser:
    """What the command line takes; the chosen command's function is in `action`."""
    top = Parser(prog="grokbench", description=ABOUT, epilog=EXIT_CODES)
    top.add_argument("--version", action="version", version=f"grokbench {VERSION}")
    commands = top.add_subparsers(required=True, metavar="command", dest="command")
    for command in COMMANDS:
        command.add(commands)
    help.add(commands.choices)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; for `gate --bisect`, that which `git bisect run` wants."""
    signs.fit(sys.stdout, sys.stderr)  # before help is shown
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        sys.stderr.write(parser().format_help())
        return USAGE
    if "--bisect" not in given:
        return _main(arguments)
    try:
        return gate.bisected(_main(arguments))
    except SystemExit as end:  # arguments that cannot be read
        return gate.bisected(end.code)


def _main(arguments: Sequence[str] | None) -> int:
    options, unknown = parser().parse_known_args(arguments)
    name = f"grokbench {options.command}"
    with (
        failures.terminable(),
        contextlib.redirect_stderr(streams.Output(sys.stderr)),
        streams.standard_output(getattr(options, "json", None)) as out,
    ):
        try:
            if json := getattr(options, "json", None):  # an older one would tell of another run, whatever comes now
                files.prepare(json, *inputs(options))
            if unknown:
                parser().exit(USAGE, f"{name}: error: unrecognized arguments: {' '.join(unknown)}; see {name} --help\n")
            cores.check(getattr(options, "threads", None))  # whatever the command, before it writes anything
            code = int(options.action(options))
            out.flush()
        except (Exception, KeyboardInterrupt) as error:
            return failures.report(error, options)
    return code
