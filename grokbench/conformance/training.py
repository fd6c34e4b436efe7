"""Whether an optimizer trains at all."""

from __future__ import annotations

import torch

from grokbench.conformance.outcome import ConformanceError, Seen
from grokbench.conformance.rig import run_of
from grokbench.spec import OptimizerSpec

EPOCHS = 8  # of two steps; some optimizers stand still in the first few


def runs(spec: OptimizerSpec) -> Seen:
    """Epochs of a real task, stacked, with finite weights that move."""
    from grokbench.engine.ensemble import Ensemble

    ensemble = Ensemble(run_of(spec), 2, torch.device("cpu"))
    for slot in range(2):
        ensemble.load(slot, run_of(spec, slot))
    before = [ensemble.weights(slot) for slot in range(2)]
    for _ in range(EPOCHS):
        ensemble.epoch()
    for slot, old in enumerate(before):
        new = ensemble.weights(slot)
        if still := [name for name, w in new.items() if torch.equal(w, old[name])]:
            raise ConformanceError(f"{len(still)} of {len(new)} parameters never move, {still[0]} among them")
        if wild := [name for name, w in new.items() if not w.isfinite().all()]:
            raise ConformanceError(f"{wild[0]} is not finite after {EPOCHS} epochs")
    return Seen(f"two stacked replicas train for {EPOCHS} epochs")
