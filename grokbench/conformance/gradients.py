"""What an optimizer does with the gradient tensors that it is given."""

from __future__ import annotations

import torch
from torch import Tensor

from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen, in_a_line
from grokbench.conformance.rig import REPLICAS, SIZE, STEPS, Replica, noise, same, trajectory
from grokbench.spec import OptimizerSpec, UsageError, registry

TINY = 1e-30


def finite(spec: OptimizerSpec) -> Seen:
    zero = torch.zeros(1, REPLICAS, SIZE, dtype=torch.float64)
    ordinary = noise(2)
    sparse = ordinary * (torch.arange(SIZE) % 5 == 0)
    cases = {
        "zero": zero.expand(3, -1, -1),
        "small (1e-12)": noise(3, scale=1e-12),
        "zero after ordinary": torch.cat([ordinary, zero.expand(3, -1, -1)]),
        "mostly zero": sparse,
    }
    for name, gradients in cases.items():
        if not trajectory(spec, gradients, len(gradients)).isfinite().all():
            raise ConformanceError(f"{name} gradients make weights that are not finite")
    if not trajectory(spec, noise(3, scale=TINY), 3).isfinite().all():
        text = f"after zero and small gradients, but not after gradients of {TINY:g}, whose squares are 0 in float32"
        return Seen(text, CheckOutcome.SAID)
    return Seen("after zero and tiny gradients too")


def untouched(spec: OptimizerSpec) -> Seen:
    if spec.name in registry.BUILT_IN:
        trajectory(spec, noise(), untouched=True)
        return Seen("gradients are left as they are")
    one = Replica(spec)
    listed = [name for name, _ in one.named]
    gradients = noise()
    for t in range(STEPS):
        one.give(gradients[t, 0])
        given = {name: p.grad for name, p in one.named if p.grad is not None}
        before = {name: g.clone() for name, g in given.items()}
        one.step()
        for name, g in given.items():
            if not same(g, before[name]):
                raise ConformanceError(f"step {t + 1} writes into the gradient of {name}")
    if [name for name, _ in one.named] != listed:
        raise ConformanceError("it changes the list of parameters that it is given")
    return Seen("gradients and parameter lists are left as they are")


def refilled(spec: OptimizerSpec) -> Seen:
    """Whether bits are the same where every step fills the gradient tensors of the last one again.

    Gradients are filled in place by `zero_grad(set_to_none=False)`, by buckets and by CUDA graphs.
    """
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: it is given no gradient tensors to keep")
    fresh, filled, rows = Replica(spec), Replica(spec), noise()
    for t in range(STEPS):
        fresh.give(rows[t, 0])
        filled.fill(rows[t, 0])
        fresh.step()
        filled.step()
        if name := fresh.difference(filled):
            raise ConformanceError(
                f"with gradient tensors filled again in place, {name} differs in step {t + 1}: "
                "is a gradient kept without a clone?"
            )
    return Seen("tensors filled again in place: the same bits")


def missing(spec: OptimizerSpec) -> Seen:
    """Whether a parameter whose gradient is None for some steps stays, and the others go on.

    That nothing is done for None is only said: no model here has a parameter without a gradient.
    """
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: every parameter has a gradient")
    # One with a gap, one without, and one that takes the steps around the gap alone.
    one, full, around = Replica(spec), Replica(spec), Replica(spec)
    rows, coupled = noise(), False
    name, p = one.named[0]
    for t in range(STEPS):
        absent = t // 3 == 1
        for replica in (one, full) if absent else (one, full, around):
            replica.give(rows[t, 0])
        if absent:
            p.grad = None
            around.count += 1  # what it draws is of the number of the step
        else:
            around.step()
        before, others = _weights(one), _weights(full)
        full.step()
        try:
            one.step()
        except UsageError as error:
            text = f"a gradient that is None, as a frozen parameter has, is not skipped: {in_a_line(error)}"
            return Seen(text, CheckOutcome.SAID)
        if absent and not same(p, before[0]):
            raise ConformanceError(f"step {t + 1} moves {name}, whose gradient is None")
        if absent and (still := _still(one, before) - _still(full, others) - {name}):
            raise ConformanceError(
                f"while {name} has no gradient, {len(still)} others do not move, {min(still)} among them"
            )
        coupled |= any(not same(a, b) for (_, a), (_, b) in zip(one.named[1:], full.named[1:], strict=True))
    if coupled:
        return Seen("a parameter without a gradient stays; the steps of the others change by it", CheckOutcome.SAID)
    if not same(p, around.parameters[0]):
        text = "a parameter without a gradient stays, but its later steps are others: does its group count for it?"
        return Seen(text, CheckOutcome.SAID)
    return Seen("a parameter without a gradient stays where it is, the others keep their bits")


def _weights(one: Replica) -> list[Tensor]:
    return [p.detach().clone() for p in one.parameters]


def _still(one: Replica, before: list[Tensor]) -> set[str]:
    """The names of what has not moved."""
    return {name for (name, p), old in zip(one.named, before, strict=True) if same(p, old)}
