"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass

HOLDS, FAILED, UNSEEN = "holds", "FAILED", "not looked at"


class FaultError(Exception):
    """A check found that something is not as it has to be; the text says what."""


class UnseenError(Exception):
    """Nothing was looked at here; the text says why."""


@dataclass(frozen=True)
class Finding:
    """status: 'holds', 'FAILED' or 'not looked at'. detail: what was looked at, what is wrong, or why it was not."""

    name: str
    status: str
    detail: str
    seconds: float

    @property
    def failed(self) -> bool:
        return self.status == FAILED
