"""Intervals hold what is true as often as the guide says; benchmarks/studies/coverage.py prints the whole table."""

from __future__ import annotations

import pytest
from scripts import load

coverage = load("coverage")
PLAIN, TIES, TENTH, THIRD = coverage.SETTINGS
SAMPLES = 150
CHANCE = 0.88  # 150 intervals of 95 % cover less than once in a thousand times


@pytest.mark.parametrize("n", [2, 5, 16])
@pytest.mark.parametrize("name", list(coverage.METHODS))
def test_intervals_cover_where_every_run_gets_there(name: str, n: int) -> None:
    share, shown = coverage.coverage(name, PLAIN, n, SAMPLES)
    assert shown == 1
    assert share >= CHANCE


def test_ties_take_nothing_and_few_late_runs_take_what_is_said() -> None:
    assert coverage.coverage("time ratio, pairs", TIES, 8, SAMPLES)[0] >= CHANCE
    rare = coverage.coverage("time ratio, pairs", TENTH, 8, SAMPLES)[0]
    assert 0.75 < rare < 0.95, "samples without a run that never got there know nothing of those"


def test_one_run_has_no_interval() -> None:
    assert coverage.coverage("time ratio, unpaired", PLAIN, 1, 5)[1] == 0
    assert coverage.coverage("difference, pairs or a fixed number", PLAIN, 1, 5)[1] == 0
