"""Verdicts on anyone's grok times: a CSV file with the columns cell, arm, replica, time and event. Torch-free.

event is 1 where the time was reached and 0 where the run was stopped at it without (censored). Replicas of one number
are taken to share their random stream in every arm and cell.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from grokbench.claims import Comparison
from grokbench.spec import UsageError
from grokbench.verdicts.evidence import compare
from grokbench.verdicts.pairs import Evidence, Sample
from grokbench.verdicts.verdict import Verdict, judge, pool

LATEST = 1e15
COLUMNS = ("cell", "arm", "replica", "time", "event")


class Row(NamedTuple):
    """One run; `line` is that of the file."""

    line: int
    cell: str
    arm: str
    replica: str
    time: float
    event: bool


def read(path: str) -> list[Row]:
    """The rows of the file. Raises `UsageError` that names the line of what is wrong."""
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
            if lacking := [c for c in COLUMNS if c not in reader.fieldnames]:
                raise UsageError(f"{path} has no column {lacking[0]!r}: it needs {','.join(COLUMNS)}")
            rows = [_row(path, reader.line_num, content) for content in reader]
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is not a CSV file: {error}") from None
    if not rows:
        raise UsageError(f"{path} has no rows")
    return rows


def _row(path: str, line: int, content: dict[str, str | None]) -> Row:
    def refuse(why: str) -> UsageError:
        return UsageError(f"{path}, line {line}: {why}")

    values = {name: (content.get(name) or "").strip() for name in COLUMNS}
    for name, value in values.items():
        if not value:
            raise refuse(f"{name} is empty")
    try:
        time = float(values["time"])
    except ValueError:
        time = math.nan
    if "_" in values["time"]:
        time = math.nan
    if not math.isfinite(time):
        raise refuse(f"time must be a number, not {values['time']!r}")
    if not 0 < time <= LATEST:
        raise refuse(f"time must be above 0 and at most {LATEST:g}, not {values['time']}")
    if values["event"] not in ("0", "1"):
        raise refuse(f"event must be 1 (reached) or 0 (censored), not {values['event']!r}")
    return Row(line, values["cell"], values["arm"], values["replica"], time, values["event"] == "1")


def verdicts_of(
    rows: Iterable[Row], baseline: str | None, *, paired: bool = True, sequential: bool = False
) -> list[Verdict]:
    """For each arm but the baseline: the verdict in each cell and, if there are several, over all of them.

    Raises `UsageError` for runs that are there twice, pairs of which one is missing, times beyond their cell's
    censoring time or censored at different ones, and a baseline that is not there.
    """
    rows = list(rows)
    arms = list(dict.fromkeys(row.arm for row in rows))
    if len(arms) < 2:
        raise UsageError(f"a comparison needs two arms, not only {arms[0]!r}")
    if baseline is not None and baseline not in arms:
        raise UsageError(f"unknown arm {baseline!r}: choose from {', '.join(arms)}")
    if sequential and not paired:
        raise UsageError("anytime-valid verdicts are taken pair by pair: leave out --unpaired or --early-stop")
    first = baseline or arms[0]
    table: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        own = table.setdefault((row.cell, row.arm), {})
        if row.replica in own:
            where = f"replica {row.replica} of {row.arm} in {row.cell}"
            raise UsageError(f"line {row.line}: {where} is there already, in line {own[row.replica].line}")
        own[row.replica] = row
    never = _censoring(rows)
    verdicts: list[Verdict] = []
    for arm in arms:
        if arm != first:
            question = Comparison(
                f"{arm}-before-{first}",
                f"{arm} is earlier than {first}",
                "",
                (first, arm),
                sequential=sequential,
                paired=paired,
                asserted=True,
            )
            both = [(table.get((cell, first), {}), table.get((cell, arm), {}), never[cell]) for cell in never]
            numbers = sorted({r for own, other, _ in both for r in (*own, *other)}, key=_natural)
            cells = [_evidence(*cell, (first, arm), numbers, paired) for cell in both if cell[0] or cell[1]]
            if not cells:
                raise UsageError(f"the arms {first} and {arm} have no cell in common")
            verdicts += judge(question, cells, len(cells))
            verdicts += [pool(question, cells)] if len(cells) > 1 else []
    return verdicts


def _censoring(rows: Iterable[Row]) -> dict[str, float]:
    """By cell, a time just later than all: that of a run that was not reached, as `Sample` has it."""
    ends: dict[str, Row] = {}
    for row in rows:
        if not row.event:
            known = ends.setdefault(row.cell, row)
            if known.time != row.time:
                raise UsageError(
                    f"line {row.line}: {row.cell} is censored at {row.time:g} here and at {known.time:g} in line "
                    f"{known.line}; runs of a cell need one budget"
                )
    latest: dict[str, float] = {}
    for row in rows:
        if row.event and row.cell in ends and row.time > ends[row.cell].time:
            raise UsageError(
                f"line {row.line}: time {row.time:g} is later than the censoring time {ends[row.cell].time:g} of "
                f"{row.cell} in line {ends[row.cell].line}"
            )
        latest[row.cell] = max(latest.get(row.cell, 0.0), row.time)
    return {cell: time * (1 + 1e-6) for cell, time in latest.items()}


def _natural(replica: str) -> tuple[bool, int, str]:
    """Replicas in the order of their numbers, those that are none last."""
    number = int(replica) if replica.isdecimal() and len(replica) < 19 else None
    return (number is None, number or 0, replica)


def _evidence(
    baseline: dict[str, Row],
    candidate: dict[str, Row],
    never: float,
    names: tuple[str, str],
    numbers: list[str],
    paired: bool,
) -> Evidence:
    """names: of the two arms. numbers: replicas of all cells, in order; those of one number share their stream."""
    here = next(iter((baseline or candidate).values()))
    if paired:
        for one, other, arm in ((baseline, candidate, names[1]), (candidate, baseline, names[0])):
            for replica, row in one.items():
                if replica not in other:
                    raise UsageError(
                        f"line {row.line}: replica {replica} of {row.arm} in {row.cell} has no partner of {arm}; "
                        "--unpaired compares without pairs"
                    )
    elif not baseline or not candidate:
        raise UsageError(f"line {here.line}: {here.cell} has runs of one arm alone")

    def sample(own: dict[str, Row]) -> Sample:
        ordered = [own[replica] for replica in numbers if replica in own]
        times = np.array([row.time if row.event else never for row in ordered], dtype=float)
        return Sample(times, np.full(len(times), np.nan), times)

    samples = sample(baseline), sample(candidate)
    if paired:
        order = np.array([i for i, replica in enumerate(numbers) if replica in baseline])
        return compare("first", 1.0, here.cell, "all", *samples, never, order=order)
    return Evidence(here.cell, "all", *samples, never, np.zeros(len(baseline)), (), np.arange(len(baseline)))
