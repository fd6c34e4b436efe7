"""Whether a rate that is set in `param_groups` between steps, as schedulers do, is the one that acts."""

from __future__ import annotations

import copy

import torch

from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import give, noise, restored, same, step, torch_optimizer
from grokbench.spec import OptimizerSpec, registry

BEFORE, AFTER = 3, 3  # steps at the rate as it is, and at 0


def live(spec: OptimizerSpec) -> Seen:
    """With lr and weight_decay set to 0 no parameter should move, also after a load of the state."""
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: it has no param_groups")
    named, optimizer = torch_optimizer(spec)
    if any("lr" not in group for group in optimizer.param_groups):
        raise NotApplicableError("its param_groups have no lr")
    rows = noise(BEFORE + AFTER)
    for t in range(BEFORE):
        give(named, rows[t, 0])
        step(spec, optimizer, t)
    state = copy.deepcopy(optimizer.state_dict())
    ordinary, loaded = restored(spec, named, copy.deepcopy(state)), restored(spec, named, state)
    _stop(optimizer)
    _stop(loaded[1])
    start = [p.detach().clone() for _, p in named]
    for t in range(BEFORE, BEFORE + AFTER):
        for parameters, own in ((named, optimizer), ordinary, loaded):
            give(parameters, rows[t, 0])
            step(spec, own, t)
    for parameters, when in ((named, ""), (loaded[0], " after load_state_dict")):
        if all(same(p, q) for (_, p), (_, q) in zip(parameters, ordinary[0], strict=True)):
            raise ConformanceError(
                f"a rate of 0 in param_groups{when} changes nothing: does it keep a rate of its own?"
            )
    if any(
        not same(p, old) for parameters in (named, loaded[0]) for (_, p), old in zip(parameters, start, strict=True)
    ):
        return Seen("a rate of 0 in param_groups acts, but weights still move", CheckOutcome.SAID)
    return Seen("at a rate of 0 in param_groups nothing moves, also after load_state_dict")


def _stop(optimizer: torch.optim.Optimizer) -> None:
    """Set the rate and the decay to 0."""
    for group in optimizer.param_groups:
        for name in ("lr", "weight_decay"):
            if isinstance(group.get(name), torch.Tensor):
                group[name] = torch.zeros_like(group[name])
            elif name in group:
                group[name] = 0.0
