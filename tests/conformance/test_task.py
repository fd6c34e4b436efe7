"""What is checked of a task: sound ones, and a planted fault for each check."""

from __future__ import annotations

import pytest

from grokbench.conformance import CheckOutcome, kinds


@pytest.mark.parametrize(
    ("text", "breaks"),
    [
        ("sparse_parity(n=4)", None),
        ("tables:sound", None),
        ("tables:repeats", "asked once"),
        ("tables:no_table", "table"),
        ("tables:here_alone", "everywhere"),
    ],
)
def test_a_task_is_what_its_checks_say(text: str, breaks: str | None) -> None:
    if breaks and breaks != "table":
        assert kinds.examine("task", text, breaks).outcome is CheckOutcome.BREAKS
        return
    found = {finding.check: finding.outcome for finding in kinds.conformance("task", text)}
    assert [check for check, outcome in found.items() if outcome is CheckOutcome.BREAKS] == [breaks] * bool(breaks)
    assert len(found) == (1 if breaks == "table" else 4)
