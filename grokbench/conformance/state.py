"""Whether `state_dict` holds all that an optimizer remembers."""

from __future__ import annotations

import io

import torch

from grokbench.conformance.outcome import ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import give, noise, restored, same, step, torch_optimizer
from grokbench.spec import OptimizerSpec, registry

STATE_STEPS = 25  # before a checkpoint, and after


def round_trip(spec: OptimizerSpec) -> Seen:
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: its state lies in the stack, and has no state_dict")
    half = STATE_STEPS
    gradients = noise(2 * half)
    named, optimizer = torch_optimizer(spec)
    for t in range(half):
        give(named, gradients[t, 0])
        step(spec, optimizer, t)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    copies, second = restored(spec, named, torch.load(file, weights_only=False))
    for t in range(half, 2 * half):
        for parameters, own in ((named, optimizer), (copies, second)):
            give(parameters, gradients[t, 0])
            step(spec, own, t)
        for (name, p), (_, q) in zip(named, copies, strict=True):
            if not same(p, q):
                raise ConformanceError(f"after a round trip of the state, {name} differs in step {t + 1 - half}")
    return Seen(f"saved, loaded into a new one and stepped on {half} times: the same bits")
