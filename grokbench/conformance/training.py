"""Whether an optimizer trains at all, and what may help one that does not."""

from __future__ import annotations

import dataclasses
import inspect

import torch

from grokbench.conformance.outcome import ConformanceError, Seen
from grokbench.conformance.rig import PATIENT, Replica, frame, noise, run_of
from grokbench.optim.trial import attempt
from grokbench.spec import OptimizerSpec, UsageError, registry
from grokbench.spec.registry import RESERVED, load

EPOCHS = PATIENT // 2  # of two steps; some optimizers stand still in the first few
NO_CLOSURE = "grokbench never gives a closure, so it cannot train this optimizer"
TRIED = 5  # steps, of what may help
MATRICES = "it takes matrices alone: with parameters='matrices' it trains, and AdamW takes the rest"
NAMES = (
    "it wants names: write a factory, def mine(named, …): return "
    "{name}(named, …), which gets a list of (name, parameter), and check that"
)
MODULE = "it wants the model itself, which grokbench does not give: write a factory that makes it of (name, parameter)"


def runs(spec: OptimizerSpec) -> Seen:
    """Epochs of a real task, stacked, with finite weights that move."""
    from grokbench.engine.ensemble import Ensemble

    try:
        attempt(run_of(spec), torch.device("cpu"))
        ensemble = Ensemble(run_of(spec), 2, torch.device("cpu"))
        for slot in range(2):
            ensemble.load(slot, run_of(spec, slot))
        before = [ensemble.weights(slot) for slot in range(2)]
        for _ in range(EPOCHS):
            ensemble.epoch()
    except UsageError as error:
        hint = "" if spec.name in registry.BUILT_IN else _hint(spec, error)
        raise ConformanceError(f"{error}; {hint}" if hint else str(error)) from error
    for slot, old in enumerate(before):
        new = ensemble.weights(slot)
        if still := [name for name, w in new.items() if torch.equal(w, old[name])]:
            raise ConformanceError(f"{len(still)} of {len(new)} parameters never move, {still[0]} among them")
        if wild := [name for name, w in new.items() if not w.isfinite().all()]:
            raise ConformanceError(f"{wild[0]} is not finite after {EPOCHS} epochs")
    return Seen(f"two stacked replicas train for {EPOCHS} epochs")


def _hint(spec: OptimizerSpec, error: UsageError) -> str:
    """What the user may do, as far as trying tells."""
    text = str(error)
    if "named_parameters" in text or "has no attribute 'parameters'" in text:
        return MODULE
    if "closure" in text.lower():
        return NO_CLOSURE
    try:
        one = Replica(spec)
    except UsageError:
        pass
    else:
        step = inspect.signature(one.optimizer.step).parameters.get("closure")
        if step and step.default is step.empty:
            return NO_CLOSURE
    if not spec.matrices_only and _trains(dataclasses.replace(spec, matrices_only=True)):
        return MATRICES
    if inspect.isclass(load(spec.name)) and _takes_names(spec):
        return NAMES.format(name=spec.name.rpartition(":")[2])
    return ""


def _trains(spec: OptimizerSpec) -> bool:
    """Whether it takes some steps: what fails in the third needs another hint than what fails in the first."""
    try:
        one = Replica(spec, tiny=True)
        for drawn in noise(TRIED, 1)[:, 0]:
            one.give(drawn)
            one.step()
    except UsageError:
        return False
    return True


def _takes_names(spec: OptimizerSpec) -> bool:
    """Whether a class makes an optimizer of a list of (name, parameter), which torch's own base takes, too."""
    arguments = {name: value for name, value in spec.hyperparameters if name not in RESERVED}
    named = [("a.weight", torch.nn.Parameter(torch.ones(4, 4))), ("a.bias", torch.nn.Parameter(torch.ones(4)))]
    try:
        with frame(spec, 0):
            optimizer = load(spec.name)(named, **arguments)
        for _, p in named:
            p.grad = torch.ones_like(p)
        with frame(spec, 1):
            optimizer.step()
    except UsageError:
        return False
    return True
