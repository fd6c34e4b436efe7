"""What a check of an optimizer comes to."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class CheckOutcome(Enum):
    HOLDS = "holds"
    BREAKS = "breaks"
    SAID = "said"  # nothing is right or wrong about it
    SKIPPED = "does not apply"
    EXPECTED = "breaks, as expected"


class Seen(NamedTuple):
    """What a check saw where nothing is broken."""

    text: str
    outcome: CheckOutcome = CheckOutcome.HOLDS


class Finding(NamedTuple):
    """What a check of this name found, and why."""

    check: str
    outcome: CheckOutcome
    text: str


def in_a_line(error: Exception) -> str:
    """What an error says, without the list of signatures that torch's errors of arguments go on with."""
    return str(error).split("\n")[0].partition(" - got (")[0]


class ConformanceError(Exception):
    """Raised by a check; its text says what is wrong."""


class NotApplicableError(Exception):
    """Raised by a check that does not apply; its text says why."""
