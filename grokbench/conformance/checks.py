"""The checks by name: what any optimizer has to keep to, on a small stack of replicas.

The replicas' gradients are given (fixed random numbers), so that nothing but the optimizer acts, except in `runs`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

from grokbench.conformance import (
    bits,
    decay,
    elsewhere,
    gradients,
    groups,
    knobs,
    parameters,
    rate,
    shape,
    size,
    state,
    training,
)
from grokbench.conformance.like import beside, resembles
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, Finding, NotApplicableError, Seen
from grokbench.numerics.frame import numerics
from grokbench.spec import OptimizerSpec, UsageError, choose, registry

CHECKS: dict[str, Callable[[OptimizerSpec], Seen]] = {
    "runs": training.runs,
    "deterministic": bits.deterministic,
    "generators": bits.generators,
    "independent": bits.independent,
    "finite": gradients.finite,
    "gradients untouched": gradients.untouched,
    "gradients refilled": gradients.refilled,
    "gradients missing": gradients.missing,
    "live rate": rate.live,
    "groups": groups.groups,
    "coupling": groups.coupling,
    "state_dict": state.round_trip,
    "processes": elsewhere.processes,
    "no dead knobs": knobs.none_dead,
    "weight decay": decay.described,
    "size": size.over_steps,
    "scale": size.over_scales,
    "shape": size.by_shape,
    "spectrum": shape.spectrum,
    "rule": resembles,
    "parameters": parameters.shapes,
    "formats": parameters.formats,
    "paths": parameters.paths,
    "closure": parameters.closure,
}


# Checks that say nothing where another breaks: steps that differ from time to time differ in all of these, too.
RESTS_ON = {
    "deterministic": (
        "independent",
        "gradients refilled",
        "gradients missing",
        "live rate",
        "groups",
        "coupling",
        "state_dict",
        "processes",
        "no dead knobs",
        "weight decay",
        "rule",
        "parameters",
        "formats",
        "paths",
    )
}
FIRST = "runs"


def examine(
    spec: OptimizerSpec, check: str, expected: Mapping[str, str] | None = None, *, alone: bool = False
) -> Finding:
    """One check of an optimizer. expected: see `expectations`. alone: also where another breaks that it rests on."""
    with numerics():
        found = _found(spec, check) if alone else _examined(spec, check)
    if not expected or check not in expected:
        return found
    if found.outcome is CheckOutcome.BREAKS:
        return Finding(check, CheckOutcome.EXPECTED, f"expected, since {expected[check]}: {found.text}")
    text = f"expected to break, since {expected[check]}, and it does not: {found.outcome.value}, {found.text}"
    return Finding(check, CheckOutcome.BREAKS, text)


@functools.lru_cache(maxsize=len(CHECKS))
def _examined(spec: OptimizerSpec, check: str) -> Finding:
    for before in (FIRST, *(name for name, resting in RESTS_ON.items() if check in resting)):
        if check != before and _examined(spec, before).outcome is CheckOutcome.BREAKS:
            return Finding(check, CheckOutcome.SKIPPED, f"{before} breaks, on which this rests")
    return _found(spec, check)


def _found(spec: OptimizerSpec, check: str) -> Finding:
    try:
        seen = CHECKS[check](spec)
    except NotApplicableError as reason:
        return Finding(check, CheckOutcome.SKIPPED, str(reason))
    except (ConformanceError, UsageError) as reason:
        return Finding(check, CheckOutcome.BREAKS, str(reason))
    return Finding(check, seen.outcome, seen.text)


def like(spec: OptimizerSpec, reference: OptimizerSpec, given: frozenset[str]) -> Finding:
    """Whether an optimizer takes the steps of another one; see `beside`."""
    check = f"like {reference.name}"
    try:
        with numerics():
            seen = beside(spec, reference, given)
    except (ConformanceError, UsageError) as reason:
        return Finding(check, CheckOutcome.BREAKS, str(reason))
    return Finding(check, seen.outcome, seen.text)


def conformance(spec: OptimizerSpec, expected: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """All checks of an optimizer; after one that cannot train at all, none of the others."""
    first, *others = CHECKS
    found = examine(spec, first, expected)
    yield found
    if found.outcome not in (CheckOutcome.BREAKS, CheckOutcome.EXPECTED):
        for check in others:
            yield examine(spec, check, expected)


def expectations(spec: OptimizerSpec, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Checks that are expected to break, with the reason: those that a plug-in declares by its attribute
    `grokbench_expected = {"check": "reason"}`, and those given here. Raises `UsageError` for a check that there is not.
    """
    declared = {} if spec.name in registry.BUILT_IN else getattr(registry.load(spec.name), "grokbench_expected", {})
    if not isinstance(declared, Mapping):
        raise UsageError(f'{spec.name}: grokbench_expected must be {{"check": "reason"}}, not {declared!r}')
    found = {str(check): str(reason) for check, reason in {**declared, **(given or {})}.items()}
    for check in found:
        choose("check", check, tuple(CHECKS))
    return found
