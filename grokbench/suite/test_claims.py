"""Published claims as cases: SUPPORTED passes, INCONCLUSIVE skips (fails with --grok-strict).

REFUTED fails if the preset asserts the claim, or if it is the user's own comparison; else it is an expected failure.
"""

from __future__ import annotations

import pytest

from grokbench.session import Case
from grokbench.verdicts.verdict import Status, Verdict


def test_claim(grok_case: Case, grok_verdict: Verdict, pytestconfig: pytest.Config) -> None:
    asserted = grok_case.claim.asserted
    if grok_verdict.status is Status.REFUTED:
        if not asserted:
            pytest.xfail(f"refuted: {grok_verdict.reason}")
        pytest.fail(f"refuted: {grok_verdict.reason}", pytrace=False)
    if grok_verdict.status is Status.INCONCLUSIVE:
        if asserted and pytestconfig.getoption("--grok-strict"):
            pytest.fail(f"undecided: {grok_verdict.reason}", pytrace=False)
        pytest.skip(f"undecided: {grok_verdict.reason}")
