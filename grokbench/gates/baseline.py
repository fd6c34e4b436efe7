"""What a candidate is held against: an optimizer to be trained, or finished runs from a store or a small file.

The file is JSON: what it was made with, and for each cell the golden trajectory of replica 0 and the runs, each with
its digest, its bits and the fields of its grok time by name. What `bits` are, the function of that name says.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from grokbench.claims import Cell
from grokbench.gates.setting import EPOCHS, Setting
from grokbench.records import codec, files
from grokbench.records.grok import GrokTime, Outcome
from grokbench.records.store import Record, Store
from grokbench.spec import ENGINE, OptimizerSpec, RunSpec, UsageError, fields, registry

FORMAT, VERSION = "grokbench baseline", 3
_ROW = ("digest", "bits", *codec.TIME)  # in a file of version 2, a run is a list of these
Goldens = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Baseline:
    """An optimizer with what is known of it. golden: by cell. records: by digest; None if it is to be trained.

    pairs: how many replicas are there in every cell, None if more can be trained. bits: by digest, where the records
    themselves lack the curves.
    """

    optimizer: OptimizerSpec
    golden: Goldens | None = None
    records: Mapping[str, Record] | None = None
    pairs: int | None = None
    bits: Mapping[str, str] | None = None


def bits(record: Record) -> str:
    """A digest of all that a run did, from its curves to the state of its last weights, and of nothing around it.

    The state is that of the diagnostics, in double precision: norms of weights and of the last update, singular values.
    """
    t = record.time
    digest = hashlib.blake2b(digest_size=8)
    digest.update(repr((t.outcome.value, t.epochs, t.fit, t.first, t.sustained, t.below)).encode())
    for curve in vars(record.trace).values():
        digest.update(np.ascontiguousarray(curve).tobytes())
    digest.update(repr([list(vars(state).values()) for state in record.diagnostics]).encode())
    return digest.hexdigest()


def kind_of(text: str) -> str:
    """'spec', 'store' or 'file': a name, or what has a colon or a bracket, is an optimizer, else the file decides."""
    path = Path(text)
    if "(" in text or ":" in text or text in registry.names():
        return "spec"
    if not path.is_file():
        if path.suffix in (".json", ".sqlite"):
            raise UsageError(f"there is no file {text}")
        return "spec"
    with path.open("rb") as file:
        return "store" if file.read(6) == b"SQLite" else "file"


def read(path: str) -> dict[str, Any]:
    """The contents of a baseline file. Raises `UsageError` if it is none, or of another version or engine."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else f"it is no JSON, or cut off: {error}"
        raise UsageError(f"cannot read the baseline {path}: {why}; `grokbench baseline save` makes one") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"{path} is not a baseline: make one with `grokbench baseline save`")
    for name, ours, also in (("version", VERSION, VERSION - 1), ("engine", ENGINE, ENGINE)):
        if (theirs := content.get(name)) not in (ours, also):
            raise UsageError(f"the baseline {path} is of {name} {theirs!r}, and this is {name} {ours}: save it anew")
    return content


def from_file(path: str, content: dict[str, Any], setting: Setting) -> Baseline:
    """Refuses, with the reason, a file of another preset, budget or device class."""

    def refuse(what: str) -> UsageError:
        return UsageError(f"the baseline {path} {what}: save it anew, or ask for what it was made with")

    try:
        made = {name: content[name] for name in ("preset", "budget", "device")}
        for name, here in (("preset", setting.preset.name), ("budget", setting.budget), ("device", setting.device)):
            if made[name] != here:
                raise refuse(f"was made with {name} {made[name]}, and this is {here}")
        optimizer = _optimizer(content["optimizer"])
        origin = codec.provenance(content["provenance"])
        records: dict[str, Record] = {}
        seen: dict[str, str] = {}
        counts = []
        for cell in setting.cells:
            if str(cell) not in content["runs"]:
                raise refuse(f"has no runs of {cell}")
            rows = content["runs"][str(cell)]
            counts.append(len(rows))
            for run, row in zip(setting.runs(cell, optimizer, len(rows)), rows, strict=True):
                values = dict(zip(_ROW, row, strict=True)) if isinstance(row, list) else row
                digest, seen[run.digest] = values["digest"], values["bits"]
                if run.digest != digest:
                    where = f"replica {run.replica} of {cell}"
                    raise refuse(f"has the digest {digest} for {where}, which now is {run.digest}")
                time = _checked(codec.grok_time(values), setting.budget)
                records[digest] = Record(digest, time, codec.NO_CURVES, (), 0.0, 0.0, origin)
        golden = {str(cell): tuple(map(str, content["golden"][str(cell)])) for cell in setting.cells}
        if {len(digests) for digests in golden.values()} != {EPOCHS}:
            raise refuse(f"has golden trajectories that are not of {EPOCHS} epochs")
        return Baseline(optimizer, golden, records, min(counts), seen)
    except UsageError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} is a damaged baseline: {type(error).__name__}: {error}") from None


def _checked(time: GrokTime, budget: int) -> GrokTime:
    """Raises `ValueError` for figures that no run of this budget can have."""
    figures = [time.epochs, time.fit, time.first, time.sustained, time.below]
    if not all(x is None or 0 <= x <= budget for x in figures):
        raise ValueError(f"a run cannot have {figures}")
    if time.outcome is Outcome.GROKKED and (time.first is None or time.fit is None):
        raise ValueError("a run that grokked has no first crossing")
    return time


def save(
    path: str,
    optimizer: OptimizerSpec,
    setting: Setting,
    golden: Goldens,
    records: Mapping[str, Record],
    pairs: int,
) -> None:
    """Write a baseline file."""
    runs: dict[str, list[dict[str, object]]] = {}
    for cell in setting.cells:
        own = [records[run.digest] for run in setting.runs(cell, optimizer, pairs)]
        runs[str(cell)] = [{"digest": r.digest, "bits": bits(r), **codec.time_fields(r.time)} for r in own]
    content = {
        "format": FORMAT,
        "version": VERSION,
        "engine": ENGINE,
        "preset": setting.preset.name,
        "model": setting.model,
        "budget": setting.budget,
        "device": setting.device,
        "cells": [[cell.task.name, cell.softmax] for cell in setting.cells],
        "optimizer": dataclasses.asdict(optimizer),
        "provenance": next(iter(records.values())).provenance.as_dict(),
        "golden": golden,
        "runs": runs,
    }
    files.write_line(path, content)


def from_store(path: str, setting: Setting) -> Baseline:
    """The one optimizer whose runs a store has in every cell. Raises `UsageError` if there are none or several."""
    store = Store(path, write=False)
    try:
        specs = [RunSpec.from_json(spec) for spec in store.search("").values()]
        found = {}
        for optimizer, most in Counter(spec.optimizer for spec in specs).items():
            counts: list[int] = []
            records: dict[str, Record] = {}
            for cell in setting.cells:
                own = store.get(run.digest for run in setting.runs(cell, optimizer, most))
                own = {d: r for d, r in own.items() if (r.provenance.device == "cpu") == (setting.device == "cpu")}
                counts.append(_unbroken(setting.runs(cell, optimizer, most), own))
                records |= own
            if min(counts):
                found[optimizer] = Baseline(optimizer, None, records, min(counts))
    finally:
        store.close()
    if not found:
        cells = ", ".join(map(str, setting.cells))
        raise UsageError(f"the store {path} has no runs of preset {setting.preset.name} in {cells}")
    if len(found) > 1:
        listed = "; ".join(sorted(map(str, found)))
        raise UsageError(
            f"the store {path} has runs of {len(found)} optimizers ({listed}): "
            "name one by --baseline SPEC --store, or make a file with `grokbench baseline save`"
        )
    return next(iter(found.values()))


def _optimizer(content: object) -> OptimizerSpec:
    return fields.read(OptimizerSpec, content, strict=True)


def _unbroken(runs: Sequence[RunSpec], records: Mapping[str, Record]) -> int:
    """How many replicas there are, from the first on."""
    return next((i for i, run in enumerate(runs) if run.digest not in records), len(runs))


def by_cell(cells: Sequence[Cell], golden: Sequence[tuple[str, ...]]) -> Goldens:
    return {str(cell): digests for cell, digests in zip(cells, golden, strict=True)}
