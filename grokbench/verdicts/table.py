"""Verdicts on anyone's grok times. Torch-free.

Replicas of one number are taken to share their random stream in every arm and cell.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from grokbench.claims import Comparison
from grokbench.spec import UsageError
from grokbench.verdicts.evidence import compare
from grokbench.verdicts.pairs import Evidence, Sample
from grokbench.verdicts.reading import Row, arms_of, short
from grokbench.verdicts.verdict import Verdict, judge, pool


def verdicts_of(
    rows: Iterable[Row], baseline: str | None, *, paired: bool = True, sequential: bool = False
) -> list[Verdict]:
    """For each arm but the baseline: the verdict in each cell and, if there are several, over all of them.

    Raises `UsageError` for runs that are there twice, pairs of which one is missing, times beyond their cell's
    censoring time or censored at different ones, and a baseline that is not there.
    """
    rows = list(rows)
    arms = arms_of(rows)
    if len(arms) < 2:
        raise UsageError(f"a comparison needs two arms, not only {short(arms[0])}")
    if baseline is not None and baseline not in arms:
        near = difflib.get_close_matches(baseline, arms, 1, 0.5)
        asked = f" (is {short(near[0])} meant?)" if near else ""
        raise UsageError(f"unknown arm {short(baseline)}{asked}: choose from {', '.join(map(short, arms))}")
    if sequential and not paired:
        raise UsageError("anytime-valid verdicts are taken pair by pair: leave out --unpaired or --early-stop")
    if not paired and any(row.before is not None for row in rows):
        raise UsageError("the column 'before' makes ties of pairs: leave it out, or leave out --unpaired")
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
            cells = [_evidence(*cell, (first, arm), numbers, paired) for cell in both if cell[0] and cell[1]]
            if not cells:
                raise UsageError(f"the arms {first} and {arm} have no cell in common")
            verdicts += judge(question, cells, len(cells))
            verdicts += [pool(question, cells)] if len(cells) > 1 else []
    return verdicts


def remarks(rows: Iterable[Row], baseline: str | None) -> list[str]:
    """What a reader has to know of the comparisons before the tables: cells that they leave out."""
    rows = list(rows)
    arms = arms_of(rows)
    first = baseline or arms[0]
    has = {arm: {row.cell for row in rows if row.arm == arm} for arm in arms}
    lines = []
    for arm in arms:
        lacking = [
            cell for cell in dict.fromkeys(row.cell for row in rows) if (cell in has[arm]) != (cell in has[first])
        ]
        if arm != first and lacking:
            cells = ", ".join(map(short, lacking))
            lines.append(f"{arm} against {first} leaves out {cells}: only one of them has runs there")
    return lines


def _overlap(one: Row, other: Row) -> bool:
    """Whether both were reached between evaluations that overlap, so that nobody knows which was earlier."""
    if one.before is None or other.before is None:
        return False
    return one.before < other.time and other.before < one.time


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

    def sample(own: dict[str, Row]) -> Sample:
        ordered = [own[replica] for replica in numbers if replica in own]
        times = np.array([row.time if row.event else never for row in ordered], dtype=float)
        return Sample(times, np.full(len(times), np.nan), times)

    samples = sample(baseline), sample(candidate)
    if paired:
        shared = [(i, replica) for i, replica in enumerate(numbers) if replica in baseline]
        found = compare("first", 1.0, here.cell, "all", *samples, never, order=np.array([i for i, _ in shared]))
        ties = np.array([_overlap(baseline[replica], candidate[replica]) for _, replica in shared])
        return replace(found, differences=np.where(ties, 0.0, found.differences))
    return Evidence(here.cell, "all", *samples, never, np.zeros(len(baseline)), (), np.arange(len(baseline)))
