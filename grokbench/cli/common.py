"""What the commands share: exit codes, options that several of them take, and where output goes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

from grokbench.options import BY_NAME, DEFAULT_STORE, settings

HELD, REFUTED, USAGE, UNDECIDED, MACHINE, INTERRUPTED = 0, 1, 2, 3, 4, 130
MANY: dict[str, Any] = {"action": "extend", "nargs": "+", "default": [], "metavar": "NAME"}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show where in the code a failure arose"
        )

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def declared(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add options of a session by their names."""
    for name in names:
        parser.add_argument(f"--{name}", **settings(BY_NAME[name], repeated=False))


def training_options(parser: argparse.ArgumentParser, written: str | None) -> None:
    """Options of every command that trains. written: what --json writes, if the command has it."""
    declared(parser, "store", "device", "threads")
    parser.set_defaults(store=DEFAULT_STORE, device="auto")
    if written:
        json_option(parser, written)


def json_option(parser: argparse.ArgumentParser, written: str) -> None:
    parser.add_argument("--json", metavar="PATH", help=f"write {written} as JSON; - for standard output")


def import_from_here() -> None:
    """Let an optimizer's module lie in the present folder, as for `python -m`."""
    sys.path.insert(0, str(Path.cwd()))


def output(json: str | None) -> TextIO:
    """Where tables go: to standard error if JSON goes to standard output."""
    return sys.stderr if json == "-" else sys.stdout


def print_rows(rows: Sequence[tuple[str, str]]) -> None:
    """Names and what there is to say of them, in two columns."""
    width = max(len(name) for name, _ in rows)
    for name, lines in rows:
        first, *rest = lines.split("\n")
        sys.stdout.write(f"{name:<{width}}  {first}\n")
        sys.stdout.writelines(f"{'':<{width}}  {line}\n" for line in rest)


def exit_code(verdicts: Sequence[Any], *, strict: bool) -> int:
    """HELD, REFUTED or UNDECIDED, by the claims that are asserted."""
    from grokbench.verdicts.verdict import Status

    statuses = {v.status for v in verdicts if v.question.asserted}
    if Status.REFUTED in statuses:
        return REFUTED
    return UNDECIDED if strict and Status.INCONCLUSIVE in statuses else HELD
