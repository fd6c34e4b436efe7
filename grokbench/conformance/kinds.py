"""The checks of every kind of plug-in but the optimizers, by the plug-in's text."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from grokbench.conformance import model, softmax, task
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, Finding, NotApplicableError, Seen
from grokbench.spec import UsageError

KINDS: dict[str, dict[str, Callable[[str], Seen]]] = {
    "task": task.CHECKS,
    "softmax": softmax.CHECKS,
    "model": model.CHECKS,
}
"""By kind, the checks by name. The first one decides whether it is such a thing at all."""


def examine(kind: str, text: str, check: str) -> Finding:
    """One check of a plug-in of this kind, or of what is built in."""
    try:
        seen = KINDS[kind][check](text)
    except NotApplicableError as reason:
        return Finding(check, CheckOutcome.SKIPPED, str(reason))
    except (ConformanceError, UsageError) as reason:
        return Finding(check, CheckOutcome.BREAKS, str(reason))
    return Finding(check, seen.outcome, seen.text)


def conformance(kind: str, text: str) -> Iterator[Finding]:
    """All checks of it; after one that says it is no such thing, none of the others."""
    first, *others = KINDS[kind]
    found = examine(kind, text, first)
    yield found
    if found.outcome is not CheckOutcome.BREAKS:
        for check in others:
            yield examine(kind, text, check)
