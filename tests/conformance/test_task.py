"""What is checked of a task: sound ones, and a planted fault for each check."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from grokbench.conformance import CheckOutcome, kinds

ME = __name__


def sound() -> Any:
    return np.arange(12).reshape(6, 2), np.arange(6) % 2


def repeats() -> Any:
    return np.arange(12).reshape(6, 2) % 4, np.arange(6) % 2


def no_table() -> Any:
    return np.arange(6), np.arange(6)


def here_alone() -> Any:
    return np.arange(12).reshape(6, 2), np.arange(6) % (2 + (os.getpid() == PROCESS))


PROCESS = int(os.environ.setdefault("GROKBENCH_TEST_PROCESS", str(os.getpid())))


@pytest.mark.parametrize(
    ("text", "breaks"),
    [
        ("sparse_parity(n=4)", None),
        (f"{ME}:sound", None),
        (f"{ME}:repeats", "asked once"),
        (f"{ME}:no_table", "table"),
        (f"{ME}:here_alone", "everywhere"),
    ],
)
def test_a_task_is_what_its_checks_say(text: str, breaks: str | None) -> None:
    if breaks and breaks != "table":
        assert kinds.examine("task", text, breaks).outcome is CheckOutcome.BREAKS
        return
    found = {finding.check: finding.outcome for finding in kinds.conformance("task", text)}
    assert [check for check, outcome in found.items() if outcome is CheckOutcome.BREAKS] == [breaks] * bool(breaks)
    assert len(found) == (1 if breaks == "table" else 4)
