"""The checks by name: what any optimizer has to keep to, on a small stack of replicas.

The replicas' gradients are given (fixed random numbers), so that nothing but the optimizer acts, except in `runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from grokbench.conformance import bits, decay, gradients, knobs, rate, shape, size, state, training
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, Finding, NotApplicableError, Seen
from grokbench.spec import OptimizerSpec, UsageError

CHECKS: dict[str, Callable[[OptimizerSpec], Seen]] = {
    "runs": training.runs,
    "deterministic": bits.deterministic,
    "independent": bits.independent,
    "finite": gradients.finite,
    "gradients untouched": gradients.untouched,
    "gradients refilled": gradients.refilled,
    "gradients missing": gradients.missing,
    "live rate": rate.live,
    "state_dict": state.round_trip,
    "no dead knobs": knobs.none_dead,
    "weight decay": decay.described,
    "size": size.over_steps,
    "spectrum": shape.spectrum,
}


def examine(spec: OptimizerSpec, check: str) -> Finding:
    """One check of an optimizer."""
    try:
        seen = CHECKS[check](spec)
    except NotApplicableError as reason:
        return Finding(check, CheckOutcome.SKIPPED, str(reason))
    except (ConformanceError, UsageError) as reason:
        return Finding(check, CheckOutcome.BREAKS, str(reason))
    return Finding(check, seen.outcome, seen.text)


def conformance(spec: OptimizerSpec) -> Iterator[Finding]:
    """All checks of an optimizer; after one that cannot train at all, none of the others."""
    first, *others = CHECKS
    found = examine(spec, first)
    yield found
    if found.outcome is not CheckOutcome.BREAKS:
        for check in others:
            yield examine(spec, check)
