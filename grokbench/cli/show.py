"""Everything that the store knows of one run, as text. Torch-free."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

from grokbench.cli.common import HELD, declared
from grokbench.options import DEFAULT_STORE
from grokbench.records.store import Record, Store
from grokbench.spec import RunSpec, UsageError

_BARS = " ▁▂▃▄▅▆▇█"
_COLUMNS = 60
_NAMES = {
    "spectral_norm": "spectral norm, largest of the hidden matrices",
    "effective_rank": "effective rank, mean of the hidden matrices",
    "weight_norm": "weight norm",
    "collapsed": "training rows whose loss has rounded to zero",
    "update_hidden": "latest update of hidden matrices, root mean square",
    "update_rest": "latest update of the rest, root mean square",
}


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("show", help="everything that is known of a run")
    parser.set_defaults(action=run)
    parser.add_argument("run", metavar="RUN", help="the beginning of its digest, as --json gives it")
    declared(parser, "store")
    parser.set_defaults(store=DEFAULT_STORE)


def run(options: argparse.Namespace) -> int:
    """Print the run whose digest begins so. Raises `UsageError` if there is none, or more than one."""
    path, beginning = Path(options.store), options.run
    with Store(path, write=False) as store:
        found = store.search(beginning)
        if len(found) != 1:
            some = ", ".join(digest[:12] for digest in list(found)[:4])
            raise UsageError(f"{len(found)} runs of {path} begin with {beginning!r}" + f": {some}, …" * bool(found))
        ((digest, spec),) = found.items()
        sys.stdout.write(text(RunSpec.from_json(spec), store.get([digest])[digest]))
    return HELD


def text(run: RunSpec, record: Record) -> str:
    """The run, line by line."""
    t, origin = record.time, record.provenance
    lines = [
        f"run {record.digest}",
        *_fields(dataclasses.asdict(run), "  "),
        "",
        f"outcome: {t.outcome.value} after {t.epochs} epochs",
    ]
    for name in ("fit", "first", "sustained"):
        lines.append(f"  {name}: {getattr(t, name) or 'never'}")
    lines += [f"  below the threshold after the first crossing: {t.below} evaluations", "", "curves, 0 to 1:"]
    for name in ("train_accuracy", "validation_accuracy"):
        lines.append(f"  {name.replace('_', ' '):<20} |{_bars(getattr(record.trace, name))}|")
    if record.diagnostics:
        heads = [f"epoch {d.epoch}" for d in record.diagnostics]
        lines += ["", f"{'diagnostics':<54}" + "".join(f"{head:>14}" for head in heads)]
        for name, meaning in _NAMES.items():
            lines.append(f"  {meaning:<52}" + "".join(f"{getattr(d, name):>14.4g}" for d in record.diagnostics))
    lines += [
        "",
        f"trained in {record.seconds:.2f} seconds by grokbench {origin.grokbench}, {origin.commit or 'no commit'}",
    ]
    lines.append(
        f"  torch {origin.torch}, Python {origin.python}, {origin.platform}, {origin.processor}, {origin.device}"
        + f", {origin.arithmetic}" * bool(origin.arithmetic)
    )
    return "\n".join(lines) + "\n"


def _fields(content: dict[str, object], indent: str) -> list[str]:
    lines = []
    for name, value in content.items():
        if isinstance(value, dict):
            inner = ", ".join(f"{k}={v!r}" for k, v in value.items() if v is not None and k != "hyperparameters")
            extra = value.get("hyperparameters") or ()
            assert isinstance(extra, tuple)
            lines.append(f"{indent}{name}: {', '.join([inner, *(f'{k}={v!r}' for k, v in extra)])}")
        else:
            lines.append(f"{indent}{name}: {value}")
    return lines


def _bars(curve: np.ndarray) -> str:
    """Up to 60 columns, each the latest known accuracy at its end; blank while none is known."""
    shown, latest, out = min(_COLUMNS, len(curve)), 0.0, ""
    for part in np.array_split(curve, shown) if shown else ():
        known = part[np.isfinite(part)]
        latest = float(known[-1]) if len(known) else latest
        out += _BARS[round(latest * (len(_BARS) - 1))]
    return out
