"""No test rejects what is true more often than its level; the whole table is printed by benchmarks/studies/null.py."""

from __future__ import annotations

import pytest
from scripts import load

from grokbench.stats import paired, permutation
from grokbench.verdicts.endpoints import ENDPOINTS

null = load("null")

TABLES = 40
SLOW = ("spread, pooled", "interaction, pooled", "equal effects, pooled")  # many sampled patterns a table


def cases():
    """Every row of the study that knows of pairs; the first and the last row of each test are the quick ones."""
    for name, test in null.TESTS.items():
        settings = test.settings[:: 2 if name in SLOW else 1]
        for setting in settings if name != "log-rank, stratified" else ():
            quick = setting in (settings[0], settings[-1]) and name not in SLOW[1:]
            yield pytest.param(name, setting, id=f"{name}-{setting}", marks=() if quick else pytest.mark.slow)


@pytest.fixture(autouse=True)
def few_patterns(monkeypatch):
    monkeypatch.setattr(permutation, "RESAMPLES", null.PATTERNS)
    monkeypatch.setattr(paired, "SWAPS", null.PATTERNS + 1)


@pytest.mark.parametrize(("name", "setting"), list(cases()))
def test_the_level_holds(name, setting):
    tables = TABLES // 4 if name in SLOW else TABLES
    assert max(null.rates(name, setting, tables)) <= null.most(tables)


def test_every_endpoint_of_runs_is_simulated():
    assert {getattr(test, "endpoint", "first") for test in null.TESTS.values()} == set(ENDPOINTS) - {"audit"}


@pytest.mark.parametrize("name", list(null.TESTS)[:4])
def test_what_is_false_is_found(name):
    weak, strong = (null.rates(name, null.Setting(0.0, ratio=ratio), 12)[0] for ratio in (0.95, 0.4))
    assert weak < strong == 1


def test_the_bound_lies_above_the_level_by_chance_alone():
    assert null.LEVEL < null.most(2000) < 0.07 < null.most(100) < 0.16


@pytest.mark.slow
def test_an_interaction_is_found_on_either_side():
    """Equal effects are less than the advantage; effects that cancel each other are more."""
    equal, opposed = (null.Setting(0.0, effects=effects) for effects in ((-0.8, -0.8, -0.8), (-0.9, 0.0, 0.9)))
    assert null.rates("interaction, pooled", equal, 6) == (1, 0)
    assert null.rates("interaction, pooled", opposed, 6) == (0, 1)
