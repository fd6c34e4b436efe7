"""Records -> the numbers that a claim is tested on, and which runs are still missing for them. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grokbench.claims import Arm, Cell, Claim
from grokbench.records.store import Record
from grokbench.spec import OptimizerSpec, RunSpec
from grokbench.stats import sequential
from grokbench.stats.course import follow
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.pairs import Evidence, Sample, first_pairs, together

Records = Mapping[str, Record]

EPOCH = 1.0  # between the evaluations of runs: training accuracies are looked at after each
AHEAD = 2  # pairs that are trained beyond those that are needed, so that no slot of an ensemble is idle


@dataclass(frozen=True, eq=False)
class Gathered:
    """What the records hold for a claim in the cells that are asked about, and for its pool.

    missing: the runs to train next for each cell that is still open, and under None for the pool. ahead: these, and
    those that may be asked for after them. cells: the pairs that count so far, of every cell that is asked about. pool:
    those of all cells of the claim, None while one is missing. used: the runs that are asked for and that are there,
    tuning included, with their arm's label.
    """

    missing: dict[Cell | None, tuple[RunSpec, ...]]
    ahead: dict[Cell | None, tuple[RunSpec, ...]]
    cells: dict[Cell, Evidence]
    pool: tuple[Evidence, ...] | None
    used: tuple[tuple[RunSpec, str], ...]

    @property
    def open(self) -> tuple[Evidence, ...]:
        """The pairs so far of the cells that need more."""
        return tuple(e for cell, e in self.cells.items() if cell in self.missing)

    @property
    def ended(self) -> tuple[Evidence, ...]:
        """The pairs of the cells that need no more."""
        return tuple(e for cell, e in self.cells.items() if cell not in self.missing)


@dataclass(frozen=True, eq=False)
class Held:
    """The records of a cell. tuning: its runs. arms: with the settings that tuning chose, none while a run of it is
    missing. pairs: all before the first that is not whole.
    """

    tuning: tuple[tuple[RunSpec, str], ...]
    arms: tuple[Arm, ...]
    pairs: Evidence


def hold(claim: Claim, cell: Cell, records: Records) -> Held:
    """What there is of a cell."""
    tuning = tuple((run, arm.label) for arm in claim.arms for runs in claim.tuning(cell, arm).values() for run in runs)
    arms = tuple(found for arm in claim.arms if (found := chosen(claim, cell, arm, records)))
    if len(arms) < len(claim.arms):
        return Held(tuning, (), pairs_of(claim, cell, 0, claim.arms, records))
    count = 0
    for pair in zip(*(claim.runs(cell, arm) for arm in arms), strict=True):
        if any(run.digest not in records for run in pair):
            break
        count += 1
    return Held(tuning, arms, pairs_of(claim, cell, count, arms, records))


class _Wanted(NamedTuple):
    """Of a test of one cell or of several that are looked at together. now: the pairs that it needs in each cell. more:
    whether these are not all there, or whether it will need more.
    """

    now: dict[Cell, int]
    more: bool


def gather(claim: Claim, asked: Sequence[Cell], records: Records, *, pooled: bool = False) -> Gathered:
    """What the records hold of these cells, and with `pooled` of all cells of the claim together.

    A sequential test is followed from the first pair on, so more records change nothing once it stopped.
    """
    held = {cell: hold(claim, cell, records) for cell in dict.fromkeys((*asked, *(claim.cells if pooled else ())))}
    tests: dict[Cell | None, _Wanted] = dict(_of_cells(claim, asked, held).items())
    if pooled:
        tests[None] = _of_pool(claim, held)

    def runs(test: _Wanted, further: int = 0) -> list[tuple[RunSpec, str]]:
        found: list[tuple[RunSpec, str]] = []
        for cell, count in test.now.items():
            found += held[cell].tuning
            for arm in held[cell].arms:
                count_then = min(count + further, claim.replicas)
                found += [(run, arm.label) for run in claim.runs(cell, arm, count_then)]
        return found

    def lacking(test: _Wanted, further: int = 0) -> tuple[RunSpec, ...]:
        return tuple(run for run, _ in runs(test, further) if run.digest not in records)

    going = {place: test for place, test in tests.items() if test.more}
    if claim.sequential:  # no cell can go on without the others
        both = _Wanted({c: n for place, test in going.items() if place for c, n in test.now.items()}, True)
        going = {place: both if place else test for place, test in going.items()}
    cells = {cell: first_pairs(held[cell].pairs, tests[cell].now[cell]) for cell in asked}
    pool = None
    if pooled and None not in going:
        pool = tuple(first_pairs(held[cell].pairs, tests[None].now[cell]) for cell in claim.cells)
    used = [(run, label) for test in tests.values() for run, label in runs(test) if run.digest in records]
    return Gathered(
        {place: lacking(test) for place, test in going.items()},
        {place: lacking(test, AHEAD) for place, test in going.items()},
        cells,
        pool,
        tuple(used),
    )


def _of_cells(claim: Claim, asked: Sequence[Cell], held: Mapping[Cell, Held]) -> dict[Cell, _Wanted]:
    if not claim.sequential:
        return {c: _Wanted({c: claim.replicas}, len(held[c].pairs.differences) < claim.replicas) for c in asked}
    if not asked:
        return {}
    gaps = [held[cell].pairs.differences for cell in asked]
    course = follow(gaps, claim.family_of(len(asked)), claim.bound, claim.replicas)
    return {
        cell: _Wanted({cell: _next(claim, int(pairs), bool(more))}, bool(more))
        for cell, pairs, more in zip(asked, course.pairs, course.open, strict=True)
    }


def _of_pool(claim: Claim, held: Mapping[Cell, Held]) -> _Wanted:
    """The pool takes the same replicas in every cell, until it is decided itself. So what it tests does not depend on
    which cells were decided early.
    """
    everywhere = [held[cell].pairs for cell in claim.cells]
    if not claim.sequential:
        more = any(len(e.differences) < claim.replicas for e in everywhere)
        return _Wanted(dict.fromkeys(claim.cells, claim.replicas), more)
    gaps = together(everywhere, lambda e: e.differences)
    course = follow([gaps], claim.pools, claim.bound, claim.replicas)
    more = bool(course.open[0])
    return _Wanted(dict.fromkeys(claim.cells, _next(claim, int(course.pairs[0]), more)), more)


def _next(claim: Claim, pairs: int, more: bool) -> int:
    """The pairs that are needed of a sequential test that has used so many and needs more, or not."""
    return max(pairs + 1, min(sequential.FIRST, claim.replicas)) if more else pairs


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
    unlike = np.array([one.unlike(other) for one, other in zip(*origins, strict=True)], dtype=bool)
    compared = compare(claim.test, claim.margin, cell, cell.task, samples[0], samples[1], never, settings, width=EPOCH)
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
    width: float = 0.0,
) -> Evidence:
    """The differences, pair by pair, that the endpoint `test` looks at. order, width: see `Evidence`; one by one, if
    there is no order.
    """
    order = np.arange(len(baseline.value)) if order is None else order
    differences = ENDPOINTS[test].differences(baseline.value, candidate.value, never, margin, width)
    return Evidence(cell, block, baseline, candidate, never, differences, settings, order, width=width)
