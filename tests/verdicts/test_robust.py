"""What a smaller budget, or sustained times, would have said: against the claim judged anew on such records."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from judged import ADD, BUDGET, FOUR, SIX, Times, claim, judge, pool, records_of

from grokbench.claims import Claim
from grokbench.verdicts.evidence import Records
from grokbench.verdicts.verdict import Status

LATE: Times = [700, 720, 810, 760, 900, 680], [450, 430, 440, 480, 460, 470]


def sequential_claim(cells: tuple = (ADD,), budget: int = BUDGET) -> Claim:
    asked = dataclasses.replace(claim(cells, 6), sequential=True)
    return dataclasses.replace(asked, criterion=dataclasses.replace(asked.criterion, budget=budget))


def with_sustained(records: Records, later: dict[str, int]) -> Records:
    """The records with the sustained time so much later than the first crossing, by arm."""
    changed = {}
    for (digest, record), add in zip(records.items(), np.repeat(list(later.values()), 6), strict=True):
        time = dataclasses.replace(record.time, sustained=(record.time.first or 0) + int(add))
        changed[digest] = dataclasses.replace(record, time=time)
    return changed


def test_the_smallest_budget_is_the_one_at_which_the_verdict_changes():
    (v,) = judge(asked := sequential_claim(), [ADD], records_of(asked, {ADD: LATE}))
    assert v.status is Status.SUPPORTED
    assert v.robust
    assert v.fragile
    statuses = {}
    for budget in range(50, BUDGET + 1, 50):
        baseline, candidate = ([t if isinstance(t, int) and t <= budget else None for t in arm] for arm in LATE)
        cut = sequential_claim(budget=budget)
        statuses[budget] = judge(cut, [ADD], records_of(cut, {ADD: (baseline, candidate)}))[0].status
    changed = max(budget for budget, status in statuses.items() if status is not Status.SUPPORTED)
    assert v.robust.budget == changed + 50
    assert 450 <= v.robust.budget <= 600


def test_an_early_and_plain_verdict_is_not_fragile():
    asked = sequential_claim()
    times: Times = SIX, [t // 2 for t in SIX]
    (v,) = judge(asked, [ADD], records_of(asked, {ADD: times}))
    assert v.robust
    assert (v.robust.whole, v.robust.sustained, v.fragile) == (BUDGET, True, False)
    assert 100 < v.robust.budget <= 300


@pytest.mark.parametrize("pooled", [False, True])
def test_a_verdict_that_sustained_times_do_not_give_is_fragile(pooled):
    cells = FOUR[:2] if pooled else (ADD,)
    asked = sequential_claim(cells)
    times: Times = SIX, [t // 2 for t in SIX]
    records = records_of(asked, dict.fromkeys(cells, times))
    later = {f"{cell}{arm}": 0 if arm == "adamw" else 300 for cell in cells for arm in ("adamw", "muon")}
    changed = with_sustained(records, later)
    v = pool(asked, cells, changed) if pooled else judge(asked, cells, changed)[0]
    assert v
    assert v.status is Status.SUPPORTED
    assert v.robust
    assert v.robust.sustained is False
    assert v.fragile
