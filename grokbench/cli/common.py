"""What the commands share: exit codes, options that several of them take, and where output goes."""

from __future__ import annotations

import argparse
import sys
import textwrap
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


def inputs(options: argparse.Namespace) -> list[str]:
    """What a command may read, as far as these are files."""
    given = vars(options)
    return [*given.get("files", ()), *filter(None, (given.get("file"), given.get("baseline")))]


def import_from_here() -> None:
    """Let an optimizer's module lie in the present folder, as for `python -m`."""
    sys.path.insert(0, str(Path.cwd()))


def output(json: str | None) -> TextIO:
    """Where tables go: to standard error if JSON goes to standard output."""
    return sys.stderr if json == "-" else sys.stdout


def print_rows(rows: Sequence[tuple[str, str]], out: TextIO | None = None) -> None:
    """Names and what there is to say of them, in two columns; below each other where there is little room."""
    from grokbench.report.layout import width_of

    stream = out or sys.stdout
    given = width_of(stream)
    widest = max(len(name) for name, _ in rows) + 2
    beside = given is None or widest <= given // 2
    indent = " " * (widest if beside else 4)
    for name, text in rows:
        lines = [piece for line in text.split("\n") for piece in _wrapped(line, given and given - len(indent))]
        first = lines.pop(0) if beside else ""
        stream.write(f"{name:<{widest}}{first}".rstrip() + "\n")
        stream.writelines(f"{indent}{line}\n" for line in lines)


def _wrapped(line: str, width: int | None) -> list[str]:
    """A line in pieces of whole words; as it is without a width."""
    whole = {"break_long_words": False, "break_on_hyphens": False}
    return (textwrap.wrap(line, max(20, width), **whole) or [""]) if width else [line]  # type: ignore[arg-type]


def exit_code(verdicts: Sequence[Any], *, strict: bool) -> int:
    """HELD, REFUTED or UNDECIDED, by the claims that are asserted."""
    from grokbench.verdicts.verdict import Status

    statuses = {v.status for v in verdicts if v.question.asserted}
    if Status.REFUTED in statuses:
        return REFUTED
    return UNDECIDED if strict and Status.INCONCLUSIVE in statuses else HELD
