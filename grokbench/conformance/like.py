"""Which known rule an optimizer's steps are those of, and with which mistake; and how it differs from another one."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from grokbench.conformance.knobs import numeric
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import SIZE, SLICES, Replica, noise, trajectory, weights
from grokbench.conformance.rules import Rule, rules, steps
from grokbench.spec import OptimizerSpec, UsageError, registry

FIRST, STEPS = 3, 12
# Settings at which rules differ by much: fast decay, and an ε that is felt.
TELLING = {"lr": 0.02, "weight_decay": 0.5, "eps": 1e-5}
EQUAL = 1e-5  # of the movement, from which on two are apart by more than rounding
FEW_DIGITS = 1e-3  # of it, where a plug-in computes in float32 inside
LONG = 100  # steps beside another optimizer


class Match(NamedTuple):
    """A known rule, and how far its weights are from the optimizer's at the most, over the movement."""

    rule: Rule
    error: float


def resembles(spec: OptimizerSpec) -> Seen:
    """The known rule whose steps it takes, among those as they are meant and those with a mistake."""
    match = nearest(spec)
    if match is None:
        raise NotApplicableError("it takes the steps of no rule that is known here")
    close = f"to {max(match.error, 1e-16):.0e} of its movement"
    return Seen(f"the steps of {match.rule}, {close}", CheckOutcome.SAID)


@functools.lru_cache(maxsize=8)
def nearest(spec: OptimizerSpec) -> Match | None:
    """The rule that it follows up to rounding, with no mistake if there is one; None if there is none."""
    told = _telling(spec)
    if told is None:
        return None
    spec, settings = told
    gradients, start = _gradients(), weights(1)
    try:
        ran = trajectory(spec, gradients[:, None], STEPS, start, torch.float64)[:, 0]
    except UsageError:
        return None
    moved = (ran[-1] - ran[0]).abs().max()
    chosen = torch.cat([torch.full((s.size,), s.hidden or not spec.matrices_only) for s in SLICES])
    place = torch.cat([torch.full((s.size,), float(i)) for i, s in enumerate(SLICES)])[chosen]
    ran, gradients, begin = ran[:, chosen], gradients[:, chosen], start[0, chosen]
    found: list[Match] = []
    for rule in rules(decays=settings["weight_decay"] > 0):
        for count in (FIRST, STEPS):  # most are apart in the first steps
            error = _apart(steps(rule, gradients[:count], begin, settings, place), ran[: count + 1], moved)
            if not error <= FEW_DIGITS:
                break
        else:
            found.append(Match(rule, error))
        if error <= 1e-9 and not rule.mistake:
            break
    best = min(found, key=lambda match: match.error, default=None)
    sound = [match for match in found if not match.rule.mistake and best and match.error <= max(2 * best.error, EQUAL)]
    return min(sound, key=lambda match: match.error) if sound else best


def _gradients() -> Tensor:
    """(T, P) float64 of sizes from 1e-8 to 1, so that ε is felt by some."""
    sizes = torch.logspace(-8, 0, SIZE, dtype=torch.float64)[
        torch.randperm(SIZE, generator=torch.Generator().manual_seed(0))
    ]
    return noise(STEPS, 1, 1.0)[:, 0] * sizes


def _telling(spec: OptimizerSpec) -> tuple[OptimizerSpec, dict[str, Any]] | None:
    """The optimizer with settings that tell, as far as it takes them, and what they are in the words of the rules."""
    own = dict(spec.hyperparameters)
    if spec.name not in registry.BUILT_IN and not numeric(own.get("lr")):
        return None
    for wanted in (TELLING, {name: value for name, value in TELLING.items() if name != "eps"}, {}):
        given = {name: value for name, value in wanted.items() if numeric(own.get(name))}
        if not own.get("weight_decay") and "weight_decay" in given and spec.name in registry.BUILT_IN:
            given["weight_decay"] = TELLING["weight_decay"]
        try:
            changed = spec.having(**given)
            trajectory(changed, noise(1, 1), 1, weights(1), torch.float64)
        except UsageError:
            continue
        own = {**_group(changed), **own, **given}
        betas = own.get("betas")
        pair = betas if isinstance(betas, tuple) and len(betas) == 2 else (own.get("beta1"), own.get("beta2"))
        first, second = (float(b) if numeric(b) else default for b, default in zip(pair, (0.9, 0.999), strict=True))
        momentum = next((own[n] for n in ("momentum", "beta", "mu") if numeric(own.get(n))), 0.9)
        alpha = next((own[n] for n in ("alpha", "rho", "beta", "decay_rate") if numeric(own.get(n))), 0.99)
        settings = {
            "lr": own["lr"],
            "weight_decay": own.get("weight_decay") or 0.0,
            "beta1": first,
            "beta2": second,
            "momentum": momentum,
            "alpha": alpha,
            "eps": own["eps"] if numeric(own.get("eps")) else 1e-8,
        }
        return changed, settings
    return None


def _group(spec: OptimizerSpec) -> dict[str, Any]:
    """The settings of the first group that a plug-in makes: some are in no signature."""
    return {} if spec.name in registry.BUILT_IN else dict(Replica(spec, tiny=True).optimizer.param_groups[0])


def _apart(one: Tensor, other: Tensor, moved: Tensor) -> float:
    error = float((one - other).abs().max() / moved.clamp(min=1e-300))
    return error if error == error else float("inf")


def beside(spec: OptimizerSpec, reference: OptimizerSpec, given: frozenset[str]) -> Seen:
    """Step by step beside another optimizer, which takes its settings where they have one name.

    given: those of the reference that were written out, and stay. Raises `ConformanceError` where they differ by more
    than rounding, with the first such step, by how much, and what each of them is known to do.
    """
    own = dict(spec.hyperparameters)
    shared = {name: own[name] for name, _ in reference.hyperparameters if name in own and name not in given}
    reference = reference.having(**shared)
    gradients, start, dtype = noise(LONG, 1), weights(1), torch.float64
    try:
        ran, wanted = (trajectory(s, gradients, LONG, start, dtype)[:, 0] for s in (spec, reference))
    except UsageError:
        ran, wanted = (trajectory(s, gradients, LONG, start).double()[:, 0] for s in (spec, reference))
    moved = (wanted - wanted[0]).abs().cummax(0).values.max(dim=1).values.clamp(min=1e-300)
    errors = (ran - wanted).abs().max(dim=1).values / moved
    worst = float(errors.max())
    apart = [t for t, error in enumerate(errors.tolist()) if not error <= EQUAL]
    if not apart:
        return Seen(f"as {reference.name} over {LONG} steps, to {max(worst, 1e-16):.0e} of the movement")
    first = apart[0]
    causes = [f"{s.name} takes the steps of {match.rule}" for s in (spec, reference) if (match := nearest(s))]
    text = f"from step {first} on other weights than {reference.name}, by {float(errors[first]):.2g} of the movement"
    text += f", and by {float(errors[-1]):.2g} in step {LONG}"
    raise ConformanceError("; ".join([text, *causes]))
