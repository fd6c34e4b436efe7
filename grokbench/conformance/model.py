"""What a model has to keep to, on a small task."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from grokbench.conformance.outcome import CheckOutcome, ConformanceError, Seen
from grokbench.engine.ensemble import Ensemble
from grokbench.engine.kinds import ensemble, obstacle
from grokbench.engine.modules import ModuleEnsemble
from grokbench.models.module import parameters
from grokbench.spec import GrokCriterion, ModelSpec, RunSpec, task
from grokbench.spec.model import parse
from grokbench.spec.registry import parse as optimizer

SMALL = ModelSpec(width=32, depth=1, heads=4, feed_forward=48)  # what a bare `transformer` stands for
ADAMW = "adamw(lr=0.01, weight_decay=0.0)"  # which moves whatever has a gradient, and nothing else
EPOCHS = 3
CPU = torch.device("cpu")


def run_of(text: str, replica: int = 0) -> RunSpec:
    model = parse(text, SMALL)
    return RunSpec(task("add", 11), "softmax", model, optimizer(ADAMW), GrokCriterion(50), 16, replica)


def _loaded(text: str, replicas: list[int]) -> Ensemble:
    stack = ensemble(run_of(text), len(replicas), CPU)
    for slot, replica in enumerate(replicas):
        stack.load(slot, run_of(text, replica))
    return stack


def _trained(text: str, replicas: list[int]) -> list[dict[str, Tensor]]:
    stack = _loaded(text, replicas)
    for _ in range(EPOCHS):
        stack.epoch()
    return [stack.weights(slot) for slot in range(len(replicas))]


def is_model(text: str) -> Seen:
    """Whether it gives scores; which of its matrices are hidden."""
    run = run_of(text)
    slices = parameters(run.model, run.task)
    hidden = [s.name for s in slices if s.hidden]
    which = f"hidden matrices are {', '.join(hidden)}" if hidden else "no matrix is hidden, so Muon cannot train it"
    return Seen(f"{sum(s.size for s in slices)} parameters; {which}", CheckOutcome.SAID)


def trains(text: str) -> Seen:
    """Every parameter moves, and stays finite."""
    stack = _loaded(text, [0])
    before = stack.weights(0)
    losses = [float(stack.epoch().train_loss[0]) for _ in range(EPOCHS)]
    after = stack.weights(0)
    if wild := [name for name, w in after.items() if not w.isfinite().all()]:
        raise ConformanceError(f"{wild[0]} is not finite after {EPOCHS} epochs")
    if still := [name for name, w in after.items() if torch.equal(w, before[name])]:
        raise ConformanceError(f"{len(still)} of {len(after)} parameters never move, {still[0]} among them")
    return Seen(f"every parameter moves; the loss goes from {losses[0]:.3g} to {losses[-1]:.3g} in {EPOCHS} epochs")


def deterministic(text: str) -> Seen:
    (first,), (again,) = _trained(text, [0]), _trained(text, [0])
    if changed := [name for name, w in first.items() if not torch.equal(w, again[name])]:
        raise ConformanceError(f"{changed[0]} is another the second time: something outlives the model")
    return Seen("the same weights again")


def independent(text: str) -> Seen:
    """Whether bits are the same alone and in company."""
    together, (lone,) = _trained(text, [0, 1, 2]), _trained(text, [2])
    if changed := [name for name, w in lone.items() if not torch.equal(w, together[2][name])]:
        raise ConformanceError(f"{changed[0]} depends on the company: modules share something")
    return Seen("the same bits alone and beside others")


def evaluation(text: str) -> Seen:
    """Whether it is evaluated without a trace."""
    stack = _loaded(text, [0])
    stack.train()
    one = stack.measure([0], "validation")
    two = stack.measure([0], "validation")
    if one.loss[0] != two.loss[0]:
        raise ConformanceError("the same validation rows have another loss the second time: does eval() reach it?")
    if isinstance(stack, ModuleEnsemble):
        stack.epoch()
        measured = stack.weights(0)
        plain = _loaded(text, [0])
        plain.train()
        plain.train()
        if changed := [name for name, w in plain.weights(0).items() if not torch.equal(w, measured[name])]:
            raise ConformanceError(f"{changed[0]} depends on how often it is evaluated")
    return Seen("evaluation leaves no trace")


def cost(text: str) -> Seen:
    run = run_of(text)
    if isinstance(run.model, ModelSpec):
        return Seen("stacked: all replicas go through it at once", CheckOutcome.SAID)
    if why := obstacle(run, CPU):
        text = f"one replica at a time, so it costs what a plain loop costs, less the optimizer: {why}"
        return Seen(text, CheckOutcome.SAID)
    return Seen("stacked by torch.func.vmap: all replicas go through it at once", CheckOutcome.SAID)


CHECKS: dict[str, Callable[[str], Seen]] = {
    "model": is_model,
    "trains": trains,
    "deterministic": deterministic,
    "independent": independent,
    "evaluation": evaluation,
    "cost": cost,
}
