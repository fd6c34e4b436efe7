"""Replica-steps a second: epochs of an ensemble, evaluation included, against the plain loop.

A replica-step is one optimizer step of one replica.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import work
from measure import Race
from plain import Plain

from grokbench.engine import sizing
from grokbench.engine.pack import Pack
from grokbench.spec import SOFTMAXES, RunSpec, task

MODELS = {"ci": ("ci", {}), "paper": ("paper", {}), "paper without dropout": ("paper", {"dropout": 0.0})}
# One of these differs from `ci` with 8 replicas at a time.
SCALES = {
    "modulus": (31, 61, 97, 113),
    "width": (32, 64, 128, 256),
    "depth": (1, 2, 4),
    "replicas": (1, 4, 16, 64),
}


def epochs(race: Race, run: RunSpec, replicas: int) -> None:
    """Time an epoch of this many replicas, as grokbench trains and evaluates them, and of the plain loop with one.

    The plain loop evaluates all rows after every epoch; what grokbench evaluates gives the same grok times.
    """
    flops = replicas * work.plain_epoch(run)
    race.bound(flops)
    pack = Pack(sizing.pack_size(run, race.device.type)._replace(slots=replicas, fixed=True))
    endless = replace(run.criterion, budget=10**9, hold=10**9)
    runs = [replace(run, replica=replica, criterion=endless) for replica in range(replicas)]
    pack.queue = {run.digest: run for run in runs}
    pack.take(runs, race.device)
    t, m = run.task, run.transformer
    race(
        pack.epoch,
        Plain(run, race.device).epoch,
        name="the plain loop, one replica",
        dtype=getattr(torch, m.dtype),
        shapes={
            "batch": (replicas, min(run.batch, t.train_rows), t.positions),
            "rows": (replicas, t.rows, t.positions),
            "width, feed-forward, depth, heads": (m.width, m.feed_forward, m.depth, m.heads),
        },
        counts={"replica_steps": replicas * work.steps(run), "flops": flops},
        scale=replicas,
    )


@pytest.mark.parametrize("replicas", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("model", MODELS)
def test_replica_steps(race: Race, model: str, optimizer: str, replicas: int) -> None:
    preset, changes = MODELS[model]
    epochs(race, work.preset_run(preset, optimizer, **changes), replicas)


@pytest.mark.parametrize("softmax", SOFTMAXES)
def test_softmax(race: Race, softmax: str) -> None:
    if softmax == "sparsemax":
        pytest.importorskip("entmax", reason="entmax is not installed")
    epochs(race, replace(work.preset_run("ci", "adamw"), softmax=softmax), replicas=8)


@pytest.mark.parametrize(("parameter", "value"), [(name, value) for name, values in SCALES.items() for value in values])
def test_scaling(race: Race, parameter: str, value: int) -> None:
    model = {"width": {"width": value, "feed_forward": 4 * value}, "depth": {"depth": value}}.get(parameter, {})
    run = work.preset_run("ci", "adamw", **model)
    if parameter == "modulus":
        run = replace(run, task=task("add", value))
    epochs(race, run, value if parameter == "replicas" else 8)
