"""What is evaluated, and when."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest
from tiny import a_run

from grokbench.engine.pack import FULL_EVERY, PROBE_ROWS, Slot


def test_everything_is_evaluated_in_every_sixteenth_epoch_and_at_the_budget() -> None:
    slot = Slot("digest", a_run(budget=2 * FULL_EVERY + 3))
    due = []
    for epoch in range(1, 2 * FULL_EVERY + 4):
        if slot.due:
            due.append(epoch)
        slot.curves.append(())
    assert due == [FULL_EVERY, 2 * FULL_EVERY, 2 * FULL_EVERY + 3]


@pytest.mark.parametrize(("wrong", "may"), [(0, True), (20, True), (21, True), (22, False), (128, False)])
def test_the_first_rows_rule_an_accuracy_out_and_forgive_one_row(wrong: int, may: bool) -> None:
    """Of 400 rows, 20 may be wrong at 95 %; so may 21 of the first 128, since one may be rounded otherwise."""
    run = dataclasses.replace(a_run(), criterion=dataclasses.replace(a_run().criterion, threshold=0.95))
    slot = Slot("digest", run)
    slot.run = SimpleNamespace(task=SimpleNamespace(part_rows=lambda part: 400), criterion=run.criterion)  # type: ignore[assignment]
    assert slot.may_reach("validation", (PROBE_ROWS - wrong) / PROBE_ROWS) is may
