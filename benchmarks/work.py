"""What is measured: runs of the presets, and how many floating-point operations they need, by formula.

A product of (m, k) by (k, n) counts as 2mkn operations, one multiplication and one addition each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from grokbench.claims import presets
from grokbench.spec import ModelSpec, RunSpec, TaskSpec, registry


def preset_run(preset: str, optimizer: str, **model: Any) -> RunSpec:
    """Replica 0 of addition under softmax in this preset, with these changes of the model."""
    p = presets.get(preset)
    spec = registry.parse(optimizer, p.optimizers)
    return RunSpec(p.tasks[0], "softmax", replace(p.model, **model), spec, p.criterion, p.batch, replica=0)


def steps(run: RunSpec) -> int:
    """Steps of an epoch: full batches, or one of all rows where there are fewer."""
    return max(1, run.task.train_rows // run.batch)


def newton_schulz(out: int, into: int, steps: int = 5) -> int:
    """Operations for one matrix: each step XXᵀ, A² and (bA + cA²)X, with the shorter side s and the longer l."""
    s, l = sorted((out, into))  # noqa: E741
    return steps * 2 * (s * s * l + s**3 + s * s * l)


def plain_forward(model: ModelSpec, task: TaskSpec) -> int:
    """Operations for one row in the plain model, which computes every position of every layer.

    A position costs, in each layer, the four (D, D) projections, the two feed-forward products (three if gated) and
    its T scores and mixtures; at the end the head.
    """
    d, f, t = model.width, model.feed_forward, task.positions
    layer = 4 * d * d + (3 if model.gated else 2) * d * f + 2 * t * d
    return 2 * t * (model.depth * layer + d * task.classes)


def plain_epoch(run: RunSpec) -> int:
    """Operations of one replica's epoch in the plain model: training, then evaluation of all rows.

    Training costs three times a forward pass: the backward pass makes two products of every one. That is 6
    operations for every multiply-add of a forward pass in training, and 2 in evaluation. The optimizer's own
    products are not counted.
    """
    trained = steps(run) * min(run.batch, run.task.train_rows)
    return plain_forward(run.transformer, run.task) * (3 * trained + run.task.rows)
