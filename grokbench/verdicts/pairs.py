"""The numbers that a test compares: two samples in a cell, and their differences pair by pair."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from grokbench.claims import Cell
from grokbench.stats.paired import Floats
from grokbench.verdicts.evaluations import Seen, alike


@dataclass(frozen=True, eq=False)
class Sample:
    """One arm in one cell, arrays (n,) by replica.

    first, sustained: restricted times, `never` where there was none. value: what the claim's endpoint compares. seen:
    between which evaluations it came, where that is told.
    """

    first: Floats
    sustained: Floats
    value: Floats
    seen: Seen | None = None


@dataclass(frozen=True, eq=False)
class Evidence:
    """Both arms in one cell. block: cells of one block share random streams, replica by replica. never: the restricted
    time of a run that did not grok. differences: (n,) negative where a pair is for the claim, positive where it is
    against it. settings: what tuning chose for each arm. order: (n,) the places of the pairs in the block. unlike:
    (n,) in which pairs the arms are known to have been rounded otherwise, say on processors of two kinds, or (0,).
    width: of the times of runs, from one evaluation to the next; 0 if they are as they are.
    """

    cell: Cell | str
    block: object
    baseline: Sample
    candidate: Sample
    never: float
    differences: Floats
    settings: tuple[str, ...]
    order: NDArray[np.intp]
    unlike: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    width: float = 0.0


def stack(cells: Sequence[Evidence], pick: Callable[[Evidence], Floats]) -> list[Floats]:
    """An array (n,) of every cell, as (S, n) for each block, NaN where a cell has fewer pairs than another."""
    blocks: dict[object, list[tuple[NDArray[np.intp], Floats]]] = {}
    for e in cells:
        value = pick(e)
        order = e.order if len(value) == len(e.order) else np.arange(len(value))  # unpaired arms have none
        blocks.setdefault(e.block, []).append((order, value))
    stacked = []
    for own in blocks.values():
        places = np.unique(np.concatenate([order for order, _ in own]))
        array = np.full((len(own), len(places)), np.nan)
        for row, (order, value) in zip(array, own, strict=True):
            row[np.searchsorted(places, order)] = value
        stacked.append(array)
    return stacked


def stack_arms(cells: Sequence[Evidence], pick: Callable[[Sample], Floats]) -> tuple[list[Floats], list[Floats]]:
    """The same of the candidate's samples, and of the baseline's."""
    return stack(cells, lambda e: pick(e.candidate)), stack(cells, lambda e: pick(e.baseline))


def told(cells: Sequence[Evidence]) -> bool:
    """Whether it is known of some cell between which evaluations its times lie."""
    return any(e.baseline.seen is not None for e in cells)


def evaluated_alike(e: Evidence, margin: float = 1.0, side: int = 0) -> tuple[Floats, Floats]:
    """Values of the baseline and of the candidate, as if margin times the first and the second had been evaluated
    alike, if it is known how they were; for side see `evaluations.alike`.
    """
    if e.baseline.seen is None or e.candidate.seen is None:
        return e.baseline.value, e.candidate.value
    baseline, candidate = alike(e.baseline.seen.times(margin), e.candidate.seen, side)
    return baseline / margin, candidate


def evened(e: Evidence) -> Evidence:
    """A cell whose pairs were evaluated alike, or are as if they had been."""
    if e.baseline.seen is None or e.candidate.seen is None:
        return e
    b, c = evaluated_alike(e)
    return replace(e, baseline=replace(e.baseline, value=b), candidate=replace(e.candidate, value=c))


def arms_of(cells: Sequence[Evidence]) -> tuple[list[Sample], list[Sample]]:
    """The candidate's samples, cell by cell, and the baseline's."""
    return [e.candidate for e in cells], [e.baseline for e in cells]


def blocks_of(cells: Sequence[Evidence]) -> int:
    """How many independent pairs there are: those of one place in the cells of a block count once."""
    places: dict[object, set[int]] = {}
    for e in cells:
        places.setdefault(e.block, set()).update(e.order.tolist())
    return sum(map(len, places.values()))


def sums(cells: Sequence[Evidence], pick: Callable[[Evidence], Floats]) -> list[Floats]:
    """(n,) sums of these differences over the cells of each block, replica by replica."""
    return [np.nansum(array, 0) for array in stack(cells, pick)]


def together(cells: Sequence[Evidence], pick: Callable[[Evidence], Floats]) -> Floats:
    """(n,) means over cells of these differences, replica by replica, of the replicas that every cell has.

    So no cell weighs more because it went on for longer. Where no two cells share a number, the first pairs of all go
    together, and so on.
    """
    orders = [e.order for e in cells]
    places = functools.reduce(np.intersect1d, orders)
    if len(np.unique(np.concatenate(orders))) == sum(map(len, orders)):
        count = min(map(len, orders))
        return np.asarray(np.mean([pick(e)[:count] for e in cells], axis=0))
    return np.asarray(np.mean([pick(e)[np.searchsorted(e.order, places)] for e in cells], axis=0))


def first_pairs(e: Evidence, count: int) -> Evidence:
    """The same cell after so many pairs."""
    arms = [Sample(s.first[:count], s.sustained[:count], s.value[:count]) for s in (e.baseline, e.candidate)]
    cut = {name: getattr(e, name)[:count] for name in ("differences", "order", "unlike")}
    return replace(e, baseline=arms[0], candidate=arms[1], **cut)
