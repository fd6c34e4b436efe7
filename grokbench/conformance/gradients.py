"""What an optimizer does with the gradient tensors that it is given."""

from __future__ import annotations

import torch

from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import REPLICAS, SIZE, STEPS, fill, give, noise, same, step, torch_optimizer, trajectory
from grokbench.spec import OptimizerSpec, UsageError, registry


def finite(spec: OptimizerSpec) -> Seen:
    zero = torch.zeros(1, REPLICAS, SIZE, dtype=torch.float64)
    ordinary = noise(2)
    sparse = ordinary * (torch.arange(SIZE) % 5 == 0)
    cases = {
        "zero": zero.expand(3, -1, -1),
        "tiny (1e-30)": noise(3, scale=1e-30),
        "zero after ordinary": torch.cat([ordinary, zero.expand(3, -1, -1)]),
        "mostly zero": sparse,
    }
    for name, gradients in cases.items():
        if not trajectory(spec, gradients, len(gradients)).isfinite().all():
            raise ConformanceError(f"{name} gradients make weights that are not finite")
    return Seen("after zero and tiny gradients too")


def untouched(spec: OptimizerSpec) -> Seen:
    if spec.name in registry.BUILT_IN:
        trajectory(spec, noise(), untouched=True)
        return Seen("gradients are left as they are")
    named, optimizer = torch_optimizer(spec)
    listed = [name for name, _ in named]
    gradients = noise()
    for t in range(STEPS):
        give(named, gradients[t, 0])
        given = {name: p.grad for name, p in named if p.grad is not None}
        before = {name: g.clone() for name, g in given.items()}
        step(spec, optimizer, t)
        for name, g in given.items():
            if not same(g, before[name]):
                raise ConformanceError(f"step {t + 1} writes into the gradient of {name}")
    if [name for name, _ in named] != listed:
        raise ConformanceError("it changes the list of parameters that it is given")
    return Seen("gradients and parameter lists are left as they are")


def refilled(spec: OptimizerSpec) -> Seen:
    """Whether bits are the same where every step fills the gradient tensors of the last one again.

    Gradients are filled in place by `zero_grad(set_to_none=False)`, by buckets and by CUDA graphs.
    """
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: it is given no gradient tensors to keep")
    (named, optimizer), (copies, second) = torch_optimizer(spec), torch_optimizer(spec)
    rows = noise()
    for t in range(STEPS):
        give(named, rows[t, 0])
        fill(copies, rows[t, 0])
        step(spec, optimizer, t)
        step(spec, second, t)
        for (name, p), (_, q) in zip(named, copies, strict=True):
            if not same(p, q):
                raise ConformanceError(
                    f"with gradient tensors filled again in place, {name} differs in step {t + 1}: "
                    "is a gradient kept without a clone?"
                )
    return Seen("tensors filled again in place: the same bits")


def missing(spec: OptimizerSpec) -> Seen:
    """Whether a parameter whose gradient is None for some steps stays, and the others go on."""
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: every parameter has a gradient")
    (named, optimizer), (copies, second) = torch_optimizer(spec), torch_optimizer(spec)
    rows, (name, p), coupled = noise(), named[0], False
    for t in range(STEPS):
        give(named, rows[t, 0])
        give(copies, rows[t, 0])
        step(spec, second, t)
        absent = t // 3 == 1
        if absent:
            p.grad = None
        before = p.detach().clone()
        try:
            step(spec, optimizer, t)
        except UsageError as error:
            raise ConformanceError(f"with a gradient that is None, {error}") from error
        if absent and not same(p, before):
            raise ConformanceError(f"step {t + 1} moves {name}, whose gradient is None")
        coupled |= any(not same(a, b) for (_, a), (_, b) in zip(named[1:], copies[1:], strict=True))
    if coupled:
        return Seen("a parameter without a gradient stays; the steps of the others change by it", CheckOutcome.SAID)
    return Seen("a parameter without a gradient stays where it is, the others keep their bits")
