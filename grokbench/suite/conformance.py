"""What an optimizer has to keep to, as cases: `pytest --pyargs grokbench.suite.conformance --grok-optimizer SPEC`.

Not collected with the suite's claims, only by its name.
"""

from __future__ import annotations

import pytest

from grokbench.conformance import CheckOutcome, Finding


def test_conforms(grok_finding: Finding) -> None:
    if grok_finding.outcome is CheckOutcome.SKIPPED:
        pytest.skip(grok_finding.text)
    if grok_finding.outcome is CheckOutcome.EXPECTED:
        pytest.xfail(grok_finding.text)
    if grok_finding.outcome is CheckOutcome.BREAKS:
        pytest.fail(f"{grok_finding.check}: {grok_finding.text}", pytrace=False)
