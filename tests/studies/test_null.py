"""No test rejects what is true more often than its level; the whole table is printed by benchmarks/studies/null.py."""

from __future__ import annotations

import pytest
from scripts import load

null = load("null")

TABLES = 40
SLOW = ("sign flips, pooled", "spread, pooled")  # thousands of sampled patterns a table


@pytest.mark.parametrize("setting", null.NULLS, ids=str)
@pytest.mark.parametrize("name", [n for n in null.TESTS if n != "log-rank, stratified"])
def test_the_level_holds(name, setting):
    tables = TABLES // 4 if name in SLOW else TABLES
    assert max(null.rates(name, setting, tables)) <= null.most(tables)


@pytest.mark.parametrize("name", list(null.TESTS)[:4])
def test_what_is_false_is_found(name):
    weak, strong = (null.rates(name, null.Setting(0.0, ratio=ratio), 12)[0] for ratio in (0.95, 0.4))
    assert weak < strong == 1


def test_the_bound_lies_above_the_level_by_chance_alone():
    assert null.LEVEL < null.most(2000) < 0.07 < null.most(100) < 0.16
