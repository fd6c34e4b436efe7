"""`grokbench baseline save`: finished runs in a small file, for a gate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from grokbench.cli.common import HELD, training_options
from grokbench.cli.gate import SPEC, request_of, setting_options


def add(commands: Any) -> None:
    """The command's parser."""
    actions = commands.add_parser("baseline", help="finished runs in a small file, for a gate")
    parser = actions.add_subparsers(required=True, metavar="save").add_parser(
        "save", help="train them and write the file"
    )
    parser.set_defaults(action=run)
    parser.add_argument("file", metavar="FILE", help="JSON, to be kept beside the optimizer")
    parser.add_argument("--optimizer", required=True, metavar="SPEC", help=SPEC)
    parser.add_argument("--pairs", type=int, default=48, metavar="N", help="replicas in each cell (default: 48)")
    setting_options(parser)
    training_options(parser, None)


def run(options: argparse.Namespace) -> int:
    """Train a baseline, write it to a file, and say so."""
    from grokbench import gates
    from grokbench.report import progress

    request = request_of(options, baseline="", candidate="")
    with progress.watching() as listener:
        setting = gates.save(options.file, options.optimizer, request, options.pairs, listener)
    cells = ", ".join(map(str, setting.cells))
    size = Path(options.file).stat().st_size
    sys.stdout.write(
        f"{options.file}: {options.pairs} runs of {options.optimizer} in {cells}, {setting.preset.name}, "
        f"{size / 1000:.0f} kB\n"
    )
    return HELD
