"""What the commands share: exit codes, options that several of them take, and where output goes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

HELD, REFUTED, USAGE, UNDECIDED, MACHINE, INTERRUPTED = 0, 1, 2, 3, 4, 130
MANY: dict[str, Any] = {"action": "extend", "nargs": "+", "default": [], "metavar": "NAME"}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def training_options(parser: argparse.ArgumentParser, written: str | None) -> None:
    """Options of every command that trains. written: what --json writes, if the command has it."""
    store_option(parser)
    if written:
        json_option(parser, written)
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu or cuda (default: auto)")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="processes of one thread each, on a processor (default: its cores)"
    )


def store_option(parser: argparse.ArgumentParser) -> None:
    from grokbench.session import DEFAULT_STORE

    parser.add_argument(
        "--store", default=DEFAULT_STORE, metavar="PATH", help="file of finished runs (default: %(default)s)"
    )


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
