"""What an optimizer does with the gradient tensors that it is given."""

from __future__ import annotations

import torch

from grokbench.conformance.outcome import ConformanceError, Seen
from grokbench.conformance.rig import REPLICAS, SIZE, STEPS, give, noise, same, step, torch_optimizer, trajectory
from grokbench.spec import OptimizerSpec, registry


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
