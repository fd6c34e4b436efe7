"""Intervals hold what is true as often as the guide says; benchmarks/studies/coverage.py prints the whole table."""

from __future__ import annotations

import pytest
from scripts import load

coverage = load("coverage")
PLAIN, TIES, TENTH, THIRD, LATE = coverage.SETTINGS
SAMPLES = 150
CHANCE = 0.88  # 150 intervals of 95 % cover less than once in a thousand times


@pytest.mark.parametrize("n", [2, 5, 16])
@pytest.mark.parametrize("name", list(coverage.METHODS))
def test_intervals_cover_where_every_run_gets_there(name: str, n: int) -> None:
    share, shown = coverage.coverage(name, PLAIN, n, SAMPLES)
    assert shown > 0.8  # of fewer than six pairs, one that was cut leaves none
    assert share >= CHANCE


@pytest.mark.parametrize("setting", [TIES, TENTH, THIRD, LATE], ids=lambda setting: setting.name)
def test_ties_and_runs_that_never_get_there_take_nothing(setting) -> None:  # type: ignore[no-untyped-def]
    """Those that never get there were cut by a bootstrap, which covered 0.84 to 0.93."""
    assert coverage.coverage("time ratio, pairs", setting, 8, SAMPLES)[0] >= CHANCE


def test_one_run_has_no_interval() -> None:
    assert coverage.coverage("time ratio, unpaired", PLAIN, 1, 5)[1] == 0
    assert coverage.coverage("difference, pairs or a fixed number", PLAIN, 1, 5)[1] == 0
