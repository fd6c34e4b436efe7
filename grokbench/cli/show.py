"""The runs of a store, or everything that it knows of one, as text. Torch-free."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np

from grokbench.cli.common import HELD, declared
from grokbench.options import DEFAULT_STORE
from grokbench.records.grok import Outcome
from grokbench.records.store import Record, Store
from grokbench.report import layout
from grokbench.report.layout import Column, Part
from grokbench.spec import RunSpec, UsageError, choose

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


_LIST = (
    Column("run", right=False),
    Column("task", right=False),
    Column("softmax", right=False, drop=1),
    Column("optimizer", right=False, wrap=True),
    Column("replica"),
    Column("outcome", right=False),
    Column("first\ncrossing"),
    Column("epochs\ntrained", drop=2),
)


def add(commands: Any) -> None:
    """The command's parser."""
    parser = commands.add_parser("show", help="the runs of a store, or everything that is known of one")
    parser.set_defaults(action=run)
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="the beginning of its digest; without it, the runs are listed"
    )
    parser.add_argument("--task", metavar="NAME", help="list only runs of this task")
    parser.add_argument("--arm", metavar="NAME", help="list only runs whose optimizer has this name")
    parser.add_argument("--outcome", metavar="NAME", help="list only runs that are grokked, censored or diverged")
    declared(parser, "store")
    parser.set_defaults(store=DEFAULT_STORE)


def run(options: argparse.Namespace) -> int:
    """Print the run whose digest begins so, or the list. Raises `UsageError` if there is none, or more than one."""
    path, beginning = Path(options.store), options.run
    filters = options.task, options.arm, options.outcome
    with Store(path, write=False) as store:
        if beginning is None:
            sys.stdout.write(layout.text(listing(store, *filters), layout.width_of(sys.stdout)))
            return HELD
        if any(filters):
            raise UsageError("--task, --arm and --outcome choose from the list: give them, or RUN, not both")
        found = store.search(beginning)
        if len(found) != 1:
            some = ", ".join(digest[:12] for digest in list(found)[:4])
            raise UsageError(f"{len(found)} runs of {path} begin with {beginning!r}" + f": {some}, …" * bool(found))
        ((digest, spec),) = found.items()
        sys.stdout.write(text(RunSpec.from_json(spec), store.get([digest])[digest]))
    return HELD


def listing(store: Store, task: str | None, arm: str | None, outcome: str | None) -> list[Part]:
    """The runs of a store, a row each. Raises `UsageError` for a name that none of them has."""
    found = [(d, RunSpec.from_json(spec), ended, epochs, first) for d, spec, ended, epochs, first in store.listing()]
    if found and task:
        choose("task", task, tuple(sorted({entry[1].task.name for entry in found})))
    if found and arm:
        choose("arm", arm, tuple(sorted({_arm(entry[1]) for entry in found})))
    if outcome:
        choose("outcome", outcome, tuple(kind.value for kind in Outcome))
    rows = []
    for digest, run, ended, epochs, first in found:
        if task in (None, run.task.name) and arm in (None, _arm(run)) and outcome in (None, ended.value):
            times = ended.value, str(first or "never"), str(epochs)
            rows.append((digest[:12], run.task.name, run.softmax, _setting(run), str(run.replica), *times))
    rows.sort(key=lambda row: (*row[1:4], int(row[4])))
    count = f"{len(rows)} of {len(found)} runs in {store.path}"
    return [f"{count}; grokbench show RUN shows one of them", layout.Grid(_LIST, rows)] if rows else [f"{count}."]


def _arm(run: RunSpec) -> str:
    return run.optimizer.name.rpartition(":")[2]


def _setting(run: RunSpec) -> str:
    """An optimizer's name, with the settings in which runs usually differ."""
    given = dict(run.optimizer.hyperparameters)
    shown = [f"{name}={given[name]}" for name in ("lr", "weight_decay") if name in given]
    return f"{_arm(run)}({', '.join(shown)})"


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
