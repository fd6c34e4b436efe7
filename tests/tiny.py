"""A preset of seconds, `tiny`, whose runs 'grok' once they know a third of their training set.

Loaded as a pytest plugin (`-p tiny`) in processes of their own, and by the fixture `tiny` in this one.
"""

from __future__ import annotations

import dataclasses

from grokbench.claims import presets
from grokbench.spec import GrokCriterion, ModelSpec, RunSpec, task
from grokbench.spec.registry import parse

PRESET = presets.Preset(
    name="tiny",
    summary="for tests",
    tasks=(task("add", 7), task("gcd", 7)),
    softmaxes=("softmax", "sparsemax"),
    model=ModelSpec(width=16, depth=1, heads=2, feed_forward=16),
    batch=16,
    criterion=GrokCriterion(budget=60, threshold=0.01, train_threshold=0.4, settle=1, hold=0),
    replicas=6,
    optimizers={"adamw": "adamw(lr=0.02)", "muon": "muon(lr=0.05, adamw_lr=0.02)", "sgd": "sgd(lr=0.0)"},
    asserted=("muon-before-sgd",),
    arms=("sgd", "muon"),  # a rate of zero never learns: muon is earlier
)


def pytest_configure() -> None:
    presets.PRESETS["tiny"] = PRESET


def a_run(replica=0, optimizer="muon(lr=0.05, adamw_lr=0.02)", task=0, softmax="softmax", **criterion) -> RunSpec:
    rule = dataclasses.replace(PRESET.criterion, **criterion)
    return RunSpec(PRESET.tasks[task], softmax, PRESET.model, parse(optimizer), rule, PRESET.batch, replica)
