"""The runs of a store, or everything that it knows of one, as text. Torch-free."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from grokbench.cli import streams
from grokbench.cli.common import HELD, declared
from grokbench.options import DEFAULT_STORE
from grokbench.records.grok import Outcome
from grokbench.records.store import Record, Store
from grokbench.report import layout
from grokbench.report.layout import Column, Part
from grokbench.spec import ModelSpec, RunSpec, UsageError, choose
from grokbench.spec.model import TRANSFORMER

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
    Column("other settings", right=False, wrap=True, drop=2),
    Column("replica"),
    Column("outcome", right=False),
    Column("first\ncrossing"),
    Column("epochs\ntrained", drop=3),
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
        sys.stdout.write(streams.wrapped(text(RunSpec.from_json(spec), store.get([digest])[digest]), sys.stdout))
    return HELD


def listing(store: Store, task: str | None, arm: str | None, outcome: str | None) -> list[Part]:
    """The runs of a store, a row each. Raises `UsageError` for a name that none of them has."""
    found = [(d, RunSpec.from_json(spec), ended, epochs, first) for d, spec, ended, epochs, first in store.listing()]
    if found and task:
        choose("task", task, tuple(sorted({name for entry in found for name in _names(entry[1].task.name)})))
    if found and arm:
        choose("arm", arm, tuple(sorted({_arm(entry[1]) for entry in found})))
    if outcome:
        choose("outcome", outcome, tuple(kind.value for kind in Outcome))
    chosen = [
        (digest, run, ended, epochs, first)
        for digest, run, ended, epochs, first in found
        if task in (None, *_names(run.task.name)) and arm in (None, _arm(run)) and outcome in (None, ended.value)
    ]
    arms: dict[str, list[dict[str, object]]] = {}
    for _, run, *_ in chosen:
        arms.setdefault(_arm(run), []).append(_settings(run))
    settings = {name: {"lr", "weight_decay"} | _differing(own) for name, own in arms.items()}
    besides = _differing([_besides(run) for _, run, *_ in chosen])
    rows = []
    for digest, run, ended, epochs, first in chosen:
        optimizer = f"{_arm(run)}({_given(_settings(run), settings[_arm(run)])})"
        times = ended.value, str(first or "never"), str(epochs)
        other = _given(_besides(run), besides)
        rows.append((digest[:12], run.task.name, run.softmax, optimizer, other, str(run.replica), *times))
    rows.sort(key=lambda row: (*row[1:5], int(row[5])))
    count = f"{len(rows)} of {len(found)} runs in {store.path}"
    if not rows:
        return [f"{count}."]
    shown = [i for i, column in enumerate(_LIST) if besides or column.head != "other settings"]
    table = layout.Grid([_LIST[i] for i in shown], [[row[i] for i in shown] for row in rows])
    return [f"{count}; grokbench show RUN shows one of them", table]


def _names(task: str) -> tuple[str, str]:
    """A task's name, with its settings and without."""
    return task, task.partition("(")[0]


def _arm(run: RunSpec) -> str:
    return run.optimizer.name.rpartition(":")[2]


def _settings(run: RunSpec) -> dict[str, object]:
    """All that its optimizer is given."""
    o = run.optimizer
    return {**dict(o.hyperparameters), "warmup": o.warmup, "filter": o.filter, "source": o.fingerprint, "seen": o.seen}


def _besides(run: RunSpec) -> dict[str, object]:
    """What runs of one task, softmax and optimizer may still differ in."""
    model: dict[str, object] = {"model": str(run.model)}
    if isinstance(run.model, ModelSpec):
        model = {"model": TRANSFORMER, **dataclasses.asdict(run.model)}
    task = {name: value for name, value in dataclasses.asdict(run.task).items() if name != "name"}
    return {**task, **model, **dataclasses.asdict(run.criterion), "batch": run.batch}


def _differing(given: Sequence[dict[str, object]]) -> set[str]:
    """Names whose values are not the same in all."""
    names = {name for own in given for name in own}
    return {name for name in names if any(own.get(name) != given[0].get(name) for own in given)}


def _given(values: dict[str, object], names: set[str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items() if name in names and value is not None)


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
