"""Published claims as cases: SUPPORTED passes, REFUTED fails, INCONCLUSIVE skips (fails with --grok-strict)."""

from __future__ import annotations

import pytest

from grokbench.session import Case
from grokbench.verdict import Status, Verdict


def test_claim(grok_case: Case, grok_verdict: Verdict, pytestconfig: pytest.Config) -> None:
    if grok_verdict.status is Status.REFUTED:
        pytest.fail(f"refuted: {grok_verdict.reason}", pytrace=False)
    if grok_verdict.status is Status.INCONCLUSIVE:
        if pytestconfig.getoption("--grok-strict"):
            pytest.fail(f"undecided: {grok_verdict.reason}", pytrace=False)
        pytest.skip(f"undecided: {grok_verdict.reason}")
