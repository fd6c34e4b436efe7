"""A record to be stored, piece by piece."""

from __future__ import annotations

import numpy as np

from grokbench.records.grok import Diagnostics, GrokTime, Outcome, Trace
from grokbench.records.provenance import Provenance
from grokbench.records.store import Store as Store
from grokbench.spec import GrokCriterion, ModelSpec, OptimizerSpec, RunSpec, task

MACHINE = Provenance("0.1.0", None, None, "3.11.7", "2.15.0", "Linux", "a processor, 2 cores", "cpu", 2)
TIME = GrokTime(Outcome.GROKKED, 30, fit=5, first=12, sustained=14, below=3)
STATES = (
    Diagnostics(12, 1.5, 7.25, 30.1, 0.1, 1e-3, 0.1 + 0.2),
    Diagnostics(30, float("nan"), 1.0, 2.0, 0.0, 0.0, 1.0),
)


def spec(replica: int = 0) -> RunSpec:
    optimizer = OptimizerSpec("sgd", (("lr", 0.1),))
    return RunSpec(task("add", 7), "softmax", ModelSpec(16, 1, 1, 16), optimizer, GrokCriterion(50), 8, replica)


def trace(evaluations: int = 30, seed: int = 0) -> Trace:
    rng = np.random.default_rng(seed)
    accuracies = rng.random((2, evaluations))
    losses = rng.random((2, evaluations)).astype(np.float32)
    losses[:, -1:] = np.nan
    return Trace(np.arange(1, evaluations + 1, dtype=np.int32), *accuracies, *losses)
