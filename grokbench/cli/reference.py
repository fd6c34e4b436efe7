"""The guide's page on the command line, from the parser: `python -m grokbench.cli.reference` prints it."""

from __future__ import annotations

import argparse
import sys

from grokbench.cli.common import HELD, INTERRUPTED, MACHINE, REFUTED, UNDECIDED, USAGE
from grokbench.cli.help import HELP, below
from grokbench.cli.main import parser

EXIT_CODES = {
    HELD: "Every asserted claim holds or is undecided. A gate passed or could not decide. Nothing is broken or slower.",
    REFUTED: "An asserted claim or a comparison of `judge` is refuted, a gate found a regression, a check is broken, "
    "steps or benchmarks are slower, or `doctor --verify` found a fault.",
    USAGE: "What you asked for cannot be used. One line says why, and what you can choose from.",
    UNDECIDED: "With `--strict`: an asserted claim, a comparison of `judge` or a gate is undecided.",
    MACHINE: "The machine failed: no memory, a full disk, a killed process. This is never counted as a result.",
    INTERRUPTED: "You pressed Ctrl-C. Finished runs are in the store.",
}
_HEAD = """# The command line

This page lists every command with its options, and what the exit codes mean.

`grokbench COMMAND --help` says the same in the terminal. Every command takes `--debug`, which shows where in the code a
failure arose. Tables are as wide as the terminal, or as the variable `COLUMNS` says.
"""
_CODES = """
## Exit codes

| code | means |
|---|---|
"""


def page() -> str:
    """The page, as it lies in the guide."""
    (commands,) = [a.choices for a in parser()._actions if isinstance(a, argparse._SubParsersAction)]
    codes = _CODES + "".join(f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES.items())
    return _HEAD + "".join(_section(name, command) for name, command in commands.items()) + codes


def _section(name: str, command: argparse.ArgumentParser) -> str:
    about, *examples = HELP[name]
    lines = [f"\n## {name}\n", about, "\n```sh", *examples, "```"]
    for own in below(command) or [command]:
        rows = [_row(action) for action in own._actions if action.dest not in ("help", "debug")]
        if rows:
            lines += ["", f"| `{own.prog}` | |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _row(action: argparse.Action) -> str:
    choices = ", ".join(map(str, action.choices or ()))
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    term = f"{action.option_strings[0]}{value}" if action.option_strings else value.strip()
    text = (action.help or choices).replace("%%", "%").replace("|", "\\|")
    needed = " (needed)" if action.required and action.option_strings else ""
    return f"| `{term.replace('|', ' or ')}` | {text}{needed} |"


if __name__ == "__main__":
    sys.stdout.write(page())
