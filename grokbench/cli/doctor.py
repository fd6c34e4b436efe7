"""What machine this is, and what of grokbench it can run."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
from typing import TYPE_CHECKING, Any, TextIO

from grokbench.cli.common import HELD, REFUTED, declared, json_option, output, print_rows
from grokbench.records import files, provenance
from grokbench.spec import UsageError

if TYPE_CHECKING:
    from grokbench.verify import Finding


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
    parser = commands.add_parser("doctor", help="what machine this is, what it can do, and whether it does it right")
    parser.set_defaults(action=run)
    parser.add_argument(
        "--verify",
        action="store_true",
        help="check bits, numbers, a verdict and speed on small runs, in about a minute; exit code 1 if one fails",
    )
    declared(parser, "device")
    json_option(parser, "all of it")


def run(options: argparse.Namespace) -> int:
    """Print what was found."""
    if options.device and not options.verify:
        raise UsageError("--device says where to verify: add --verify")
    out, rows = output(options.json), findings()
    print_rows(rows, out)
    checked = _verify(options.device or "auto", out) if options.verify else []
    failed = [finding.name for finding in checked if finding.failed]
    if options.json:
        checks = [dataclasses.asdict(finding) for finding in checked]
        files.write_line(options.json, {"machine": dict(rows), "checks": checks, "failed": failed})
    if failed:
        out.write(f"failed: {', '.join(failed)}\n")
    return REFUTED if failed else HELD


def _verify(device: str, out: TextIO) -> list[Finding]:
    """Check everything, a line a check as soon as it is known."""
    import torch

    from grokbench.training.local import resolve_device
    from grokbench.verify import CHECKS, verify

    where, width = resolve_device(device), max(map(len, CHECKS))
    name = torch.cuda.get_device_name() if where == "cuda" else "the processor"
    out.write(f"\nchecking {name}\n")

    def said(finding: Finding) -> None:
        out.write(f"{finding.name:<{width}}  {finding.status}: {finding.detail} ({finding.seconds:.1f} s)\n")
        out.flush()

    checked = verify(where, listener=said)
    if where == "cpu":
        out.write("CUDA was not looked at" + (": there is no device\n" if not torch.cuda.is_available() else "\n"))
    return checked
