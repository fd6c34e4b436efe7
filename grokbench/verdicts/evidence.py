"""Records -> the numbers that a claim is tested on, and which runs are still missing for them. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grokbench.claims import TIMES, Arm, Cell, Claim
from grokbench.records.store import Record
from grokbench.spec import OptimizerSpec, RunSpec
from grokbench.stats import sequential
from grokbench.stats.paired import Floats

Records = Mapping[str, Record]


@dataclass(frozen=True, eq=False)
class Sample:
    """One arm in one cell, arrays (n,) by replica.

    first, sustained: restricted times, `never` where there was none. value: what the claim's test compares.
    """

    first: Floats
    sustained: Floats
    value: Floats


@dataclass(frozen=True, eq=False)
class Evidence:
    """Both arms in one cell. block: cells of one block share random streams, replica by replica. never: the restricted
    time of a run that did not grok. forward, reverse: (n,) differences, negative where the pair is for the claim,
    positive where it is against it; they differ where a censored time leaves open on which side of the margin it lies.
    settings: what tuning chose for each arm. order: (n,) the places of the pairs in the block.
    """

    cell: Cell | str
    block: object
    baseline: Sample
    candidate: Sample
    never: float
    forward: Floats
    reverse: Floats
    settings: tuple[str, ...]
    order: NDArray[np.intp]


def chosen(claim: Claim, cell: Cell, arm: Arm, records: Records) -> Arm | None:
    """The arm with the setting that does best in tuning, by the geometric mean of the restricted first crossings.

    The first of the grid among equals; None while tuning runs are missing. Without a grid, the arm as it is.
    """
    scores: dict[OptimizerSpec, float] = {}
    for setting, runs in claim.tuning(cell, arm).items():
        if any(run.digest not in records for run in runs):
            return None
        times = [records[run.digest].time.epoch or claim.criterion.budget + 1 for run in runs]
        scores[setting] = float(np.mean(np.log(times)))
    return arm._replace(optimizer=min(scores, key=scores.__getitem__)) if scores else arm


def missing(claim: Claim, cell: Cell, records: Records) -> list[RunSpec]:
    """The runs to train next for a cell; none once it has been decided or has all its pairs."""
    tuning = [run for arm in claim.arms for runs in claim.tuning(cell, arm).values() for run in runs]
    if lacking := [run for run in tuning if run.digest not in records]:
        return lacking
    arms = [chosen(claim, cell, arm, records) for arm in claim.arms]
    for count in claim.stages:
        runs = [run for arm in arms if arm for run in claim.runs(cell, arm, count)]
        if lacking := [run for run in runs if run.digest not in records]:
            return lacking
        if stops(claim, gathered(claim, cell, count, records)):
            return []
    return []


def stops(claim: Claim, evidence: Evidence) -> bool:
    """Whether a sequential test of this cell has reached its corrected level, on either side."""
    p = min(sequential.p_value(evidence.forward), sequential.p_value(-evidence.reverse))
    return claim.sequential and p <= claim.bound


def gather(claim: Claim, cell: Cell, records: Records) -> Evidence | None:
    """The pairs that the claim's rule asks for in a cell, or None while a run of them is missing.

    With a sequential test the rule is replayed from the first look on, so more records change nothing once it stopped.
    """
    if missing(claim, cell, records):
        return None
    for count in claim.stages:
        evidence = gathered(claim, cell, count, records)
        if stops(claim, evidence):
            break
    return evidence


def used(claim: Claim, cell: Cell, records: Records) -> list[tuple[RunSpec, str]]:
    """The runs of a cell that the claim's rule asks for and that are there, tuning included, with their arm's label."""
    runs = [(run, arm.label) for arm in claim.arms for tried in claim.tuning(cell, arm).values() for run in tried]
    found = gather(claim, cell, records)
    count = len(found.forward) if found else claim.replicas
    for arm in claim.arms:
        if own := chosen(claim, cell, arm, records):
            runs += [(run, arm.label) for run in claim.runs(cell, own, count)]
    return [(run, label) for run, label in runs if run.digest in records]


def gathered(claim: Claim, cell: Cell, count: int, records: Records) -> Evidence:
    """The first `count` pairs of a cell, whose runs are all there."""
    arms = [chosen(claim, cell, arm, records) for arm in claim.arms]
    never = claim.criterion.budget + 1.0
    samples = []
    for arm in arms:
        assert arm
        found = [records[run.digest] for run in claim.runs(cell, arm, count)]
        first = np.array([record.time.epoch or never for record in found], dtype=float)
        held = np.array([record.time.held or never for record in found], dtype=float)
        values = np.array([_value(claim.test, record, never) for record in found], dtype=float)
        samples.append(Sample(first, held, values))
    settings = tuple(str(arm.optimizer) for arm in arms if arm) if claim.grid else ()
    return compare(claim.test, claim.margin, cell, cell.task, samples[0], samples[1], never, settings)


def compare(
    test: str,
    margin: float,
    cell: Cell | str,
    block: object,
    baseline: Sample,
    candidate: Sample,
    never: float,
    settings: tuple[str, ...] = (),
    order: NDArray[np.intp] | None = None,
) -> Evidence:
    """The differences, pair by pair, that a test of this name looks at. order: see `Evidence`; one by one, if None."""
    order = np.arange(len(baseline.value)) if order is None else order
    b, c = baseline.value, candidate.value
    if test not in TIMES and test not in ("spread", "interaction"):  # more supports the claim
        gap = np.nan_to_num(b - c)  # nothing is known of one: a tie
        return Evidence(cell, block, baseline, candidate, never, gap, gap, settings, order)
    gap = np.log(c) - np.log(b)
    gap = np.where(abs(gap - np.log(margin)) < 1e-12, 0.0, gap - np.log(margin))
    gap = np.where((b >= never) & (c >= never), 0.0, gap)
    # A censored time is later than it looks. Where that leaves the side of the margin open, as it can if the margin is
    # not 1, the pair counts against the claim, and against its reverse.
    forward = np.where(c >= never, abs(gap), gap)
    reverse = np.where(b >= never, -abs(gap), gap)
    return Evidence(cell, block, baseline, candidate, never, forward, reverse, settings, order)


def _value(test: str, record: Record, never: float) -> float:
    if test == "sustained":
        return record.time.held or never
    if test == "reached":
        return float(record.time.epoch is not None)
    if test == "below":  # what has not crossed cannot fall back
        return float(record.time.below) if record.time.epoch else np.nan
    if test == "collapsed":
        return record.diagnostics[-1].collapsed if record.diagnostics else np.nan
    return record.time.epoch or never


def stack(evidence: Sequence[Evidence], name: str) -> list[Floats]:
    """The named array of every cell, (S, n) for each block, NaN where a cell has fewer pairs than another.

    name: forward or reverse, or arm.field as in `Sample`.
    """
    blocks: dict[object, list[tuple[NDArray[np.intp], Floats]]] = {}
    for e in evidence:
        value: object = e
        for part in name.split("."):
            value = getattr(value, part)
        assert isinstance(value, np.ndarray)
        order = e.order if len(value) == len(e.order) else np.arange(len(value))  # unpaired arms have none
        blocks.setdefault(e.block, []).append((order, value))
    stacked = []
    for cells in blocks.values():
        places = np.unique(np.concatenate([order for order, _ in cells]))
        array = np.full((len(cells), len(places)), np.nan)
        for row, (order, value) in zip(array, cells, strict=True):
            row[np.searchsorted(places, order)] = value
        stacked.append(array)
    return stacked
