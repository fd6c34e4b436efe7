"""The small runs that checks train, and how they are loaded into ensembles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from grokbench.engine.ensemble import Ensemble
from grokbench.engine.kinds import ensemble
from grokbench.spec import SOFTMAXES, GrokCriterion, ModelSpec, ModuleSpec, RunSpec, registry, task
from grokbench.spec.model import parse

PLAIN = ModelSpec(width=32, depth=1, heads=4, feed_forward=48)
DEEP = ModelSpec(width=48, depth=2, heads=2, feed_forward=80, gated=True, dropout=0.1)
# Large enough for torch to divide its products and its element-wise work among threads.
WIDE = ModelSpec(width=128, depth=1, heads=4, feed_forward=512)
MODULE = parse("mlp(width=32, depth=1)", PLAIN)
OPTIMIZERS = ("adamw(lr=0.003)", "muon(lr=0.02, adamw_lr=0.003)", "sgd(lr=0.05, weight_decay=0.01)")
PLUG_IN = "torch.optim:RAdam(lr=0.01, weight_decay=0.1)"
FILTERS = ("adamw(lr=0.003, filter='grokfast')", "muon(lr=0.02, adamw_lr=0.003, filter='orthograd')")
SLOTS = 8


def a_run(model: ModelSpec | ModuleSpec, optimizer: str, softmax: str, *, p: int = 11, batch: int = 32) -> RunSpec:
    """Replica 0 of division modulo p."""
    return RunSpec(task("div", p), softmax, model, registry.parse(optimizer), GrokCriterion(50), batch, 0)


def cases() -> list[RunSpec]:
    """Every optimizer, filter and softmax, and all kinds of model, without all combinations of them."""
    texts = (*OPTIMIZERS, PLUG_IN, *FILTERS)
    found = [
        a_run(PLAIN if i % 2 else DEEP, text, SOFTMAXES[i % len(SOFTMAXES)], p=13, batch=50)
        for i, text in enumerate(texts)
    ]
    # On a processor, batches of 64 rows go through all modules at once, and those of 50 one by one.
    return found + [a_run(MODULE, OPTIMIZERS[1], SOFTMAXES[0], p=13, batch=rows) for rows in (50, 64)]


def named(run: RunSpec) -> str:
    """What tells a case from the others, in words."""
    chosen = f" with {run.optimizer.filter}" if run.optimizer.filter else ""
    model = "" if isinstance(run.model, ModelSpec) else f" of {run.model}"
    return f"{run.optimizer.name}{chosen} under {run.softmax}{model}"


def loaded(
    runs: Mapping[int, RunSpec], slots: int, device: torch.device, *, compile: bool = False, graphs: bool = True
) -> Ensemble:
    """An ensemble of so many slots with these runs in theirs; the others are empty."""
    made = ensemble(next(iter(runs.values())), slots, device, compile=compile, graphs=graphs)
    for slot, run in runs.items():
        made.load(slot, run)
    return made


def replicas(run: RunSpec, count: int) -> list[RunSpec]:
    """The run's first replicas."""
    return [replace(run, replica=replica) for replica in range(count)]


def alone(run: RunSpec, device: torch.device) -> Ensemble:
    """The run with no company: on CUDA, where bits may depend on the number of slots, in as many as there were."""
    return loaded({0: run}, SLOTS if device.type == "cuda" else 1, device)


def state(ensemble: Ensemble, slot: int) -> Tensor:
    """All weights in a slot, on the processor."""
    return torch.cat([w.flatten() for w in ensemble.weights(slot).values()]).cpu()
