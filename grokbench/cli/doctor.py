"""What machine this is, and what of grokbench it can run."""

from __future__ import annotations

import argparse
import importlib.util
from typing import Any

from grokbench.cli.common import HELD, print_rows
from grokbench.records import provenance


def findings() -> list[tuple[str, str]]:
    """Rows of name and finding."""
    import torch

    from grokbench.engine import sizing
    from grokbench.numerics import cache

    commit, dirty = provenance.source()
    here = provenance.capture("cpu")
    rows = [
        (
            "grokbench",
            f"{here.grokbench}, {f'commit {commit[:10]}' if commit else 'no commit'}{', changed' * bool(dirty)}",
        ),
        ("python", here.python),
        ("torch", here.torch),
        ("system", here.platform),
        ("processor", here.processor),
        ("arithmetic", here.arithmetic or ""),
        ("threads", str(here.threads)),
    ]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(i)
            rows.append((f"cuda:{i}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"))
    else:
        rows.append(("cuda", "no device: runs train on the processor"))
    compiler = sizing.compiler("cpu")
    rows.append(("C++ compiler", f"{compiler}: long runs are compiled" if compiler else "none: every step is eager"))
    place = cache.folder()
    rows.append(("compiled code", str(place) if place else "no folder for it can be written: every step is eager"))
    rows.append(("triton", "installed" if importlib.util.find_spec("triton") else "not installed"))
    return rows


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("doctor", help="what machine this is, and what it can do")
    parser.set_defaults(action=run)


def run(options: argparse.Namespace) -> int:
    """Print what was found."""
    print_rows(findings())
    return HELD
