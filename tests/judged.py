"""Claims with made-up grok times, as records."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from grokbench.claims import Arm, Cell, Claim, Setup, presets
from grokbench.claims.papers import tveit2025
from grokbench.records.grok import GrokTime, Outcome, Trace
from grokbench.records.provenance import Provenance
from grokbench.records.store import Record
from grokbench.spec import RunSpec
from grokbench.spec.registry import parse
from grokbench.verdicts import verdict
from grokbench.verdicts.evidence import Records, gather
from grokbench.verdicts.verdict import Verdict

CI = presets.get("ci")
BUDGET = CI.criterion.budget
TASKS = {task.name: task for task in CI.tasks}
MACHINE = Provenance("0.1.0", "a" * 40, False, "3.11.7", "2.15.0", "Linux", "a processor, 2 cores", "cpu", 2)
TRACE = Trace(*(np.zeros(1, kind) for kind in ("<i4", "<f8", "<f8", "<f4", "<f4")))

ADD = Cell(TASKS["add"], "softmax")
FOUR = tuple(Cell(TASKS[task], softmax) for task in ("add", "gcd") for softmax in ("softmax", "sparsemax"))
DIVERGED = "diverged"
Time = int | str | None  # a grok time, DIVERGED, or None for censored
Times = tuple[Sequence[Time], Sequence[Time]]  # baseline, candidate

SIX = 200, 220, 240, 260, 280, 300
EARLIER: Times = SIX, [time // 2 for time in SIX]
LATER: Times = EARLIER[::-1]
NEARLY: Times = SIX, [*EARLIER[1][:5], 310]  # the smallest difference points the other way
MIXED: Times = SIX, [100, 440, 120, 520, 140, 600]


def claim(cells: Sequence[Cell] = (ADD,), replicas: int = 6) -> Claim:
    baseline, candidate = (Arm(name, parse(name, CI.optimizers)) for name in ("adamw", "muon"))
    return tveit2025.earlier(Setup(CI, tuple(cells), replicas, False), baseline, candidate, "published")


def grok_time(time: Time) -> GrokTime:
    if time == DIVERGED:  # after it had crossed
        return GrokTime(Outcome.DIVERGED, 400, fit=10, first=20, sustained=30)
    if time is None:
        return GrokTime(Outcome.CENSORED, BUDGET, fit=10)
    assert isinstance(time, int)
    return GrokTime(Outcome.GROKKED, time + 10, fit=10, first=time, sustained=time)


def runs_of(
    asked: Claim, times: dict[Cell, Times], machines: Sequence[Provenance] = (MACHINE,)
) -> list[tuple[RunSpec, str, Record]]:
    runs = []
    for cell, arms in times.items():
        for arm, epochs in zip(asked.arms, arms, strict=True):
            for run, epoch in zip(asked.runs(cell, arm, len(epochs)), epochs, strict=True):
                machine = machines[run.replica % len(machines)]
                runs.append((run, arm.label, Record(run.digest, grok_time(epoch), TRACE, (), 0.5, 1.7e9, machine)))
    return runs


def records_of(asked: Claim, times: dict[Cell, Times]) -> dict[str, Record]:
    return {run.digest: record for run, _, record in runs_of(asked, times)}


def judge(asked: Claim, cells: Sequence[Cell], records: Records, family: int | None = None) -> list[Verdict]:
    """A verdict for each of these cells whose runs are all there."""
    asked = dataclasses.replace(asked, family=family) if family else asked
    found = gather(asked, cells, records)
    return verdict.judge(asked, found.ended, asked.family_of(len(cells)), found.open)


def pool(asked: Claim, cells: Sequence[Cell], records: Records) -> Verdict | None:
    """The verdict over all of these cells, None while a run is missing."""
    pairs = gather(dataclasses.replace(asked, cells=tuple(cells)), (), records, pooled=True).pool
    return None if pairs is None else verdict.pool(asked, pairs)
