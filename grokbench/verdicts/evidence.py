"""Records -> the numbers that a claim is tested on, and which runs are still missing for them. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from grokbench.claims import Arm, Cell, Claim
from grokbench.records.store import Record
from grokbench.spec import OptimizerSpec, RunSpec
from grokbench.stats import sequential
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.pairs import Evidence, Sample

Records = Mapping[str, Record]


@dataclass(frozen=True, eq=False)
class Gathered:
    """What the records hold for a claim in a cell.

    missing: the runs to train next; none once the cell has been decided or has all its pairs. evidence: the pairs that
    the claim's rule asks for, None while a run of them is missing. used: the runs that it asks for and that are there,
    tuning included, with their arm's label.
    """

    missing: tuple[RunSpec, ...]
    evidence: Evidence | None
    used: tuple[tuple[RunSpec, str], ...]


def gather(claim: Claim, cell: Cell, records: Records) -> Gathered:
    """Look by look, as far as the records reach.

    With a sequential test the rule is replayed from the first look on, so more records change nothing once it stopped.
    """
    tuning = [(run, arm.label) for arm in claim.arms for runs in claim.tuning(cell, arm).values() for run in runs]
    arms = [chosen(claim, cell, arm, records) for arm in claim.arms]
    lacking = tuple(run for run, _ in tuning if run.digest not in records)
    evidence, count = None, claim.replicas
    for looked in () if lacking else claim.stages:
        runs = [run for arm in arms if arm for run in claim.runs(cell, arm, looked)]
        lacking = tuple(run for run in runs if run.digest not in records)
        if lacking:
            evidence = None
            break
        evidence = pairs_of(claim, cell, looked, arms, records)
        if stops(claim, evidence):
            count = looked
            break
    wanted = tuning + [(run, arm.label) for arm in arms if arm for run in claim.runs(cell, arm, count)]
    return Gathered(lacking, evidence, tuple((run, label) for run, label in wanted if run.digest in records))


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


def stops(claim: Claim, evidence: Evidence) -> bool:
    """Whether a sequential test of this cell has reached its corrected level, on either side."""
    if not claim.sequential:
        return False
    return min(sequential.p_value(evidence.differences), sequential.p_value(-evidence.differences)) <= claim.bound


def pairs_of(claim: Claim, cell: Cell, count: int, arms: Sequence[Arm | None], records: Records) -> Evidence:
    """The first `count` pairs of a cell, whose runs are all there; arms: with the settings that tuning chose."""
    never, endpoint = claim.criterion.budget + 1.0, ENDPOINTS[claim.test]
    samples, origins = [], []
    for arm in arms:
        assert arm
        found = [records[run.digest] for run in claim.runs(cell, arm, count)]
        origins.append([record.provenance for record in found])
        first = np.array([record.time.epoch or never for record in found], dtype=float)
        held = np.array([record.time.held or never for record in found], dtype=float)
        values = np.array([endpoint.value(record, never) for record in found], dtype=float)
        samples.append(Sample(first, held, values))
    settings = tuple(str(arm.optimizer) for arm in arms if arm) if claim.grid else ()
    unlike = sum(one.unlike(other) for one, other in zip(*origins, strict=True))
    compared = compare(claim.test, claim.margin, cell, cell.task, samples[0], samples[1], never, settings)
    return replace(compared, unlike=unlike)


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
    """The differences, pair by pair, that the endpoint `test` looks at. order: see `Evidence`; one by one, if None."""
    order = np.arange(len(baseline.value)) if order is None else order
    differences = ENDPOINTS[test].differences(baseline.value, candidate.value, never, margin)
    return Evidence(cell, block, baseline, candidate, never, differences, settings, order)
