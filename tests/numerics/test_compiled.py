"""A compiled step gives the numbers of the eager one, is compiled once, and keeps a run's bits its own."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from ensembles import GATED, a_run, ensemble_of, state
from pretend_cuda import PretendedCuda
from torch._dynamo.utils import counters

from grokbench.claims import presets
from grokbench.engine import sizing
from grokbench.engine.ensemble import Ensemble
from grokbench.numerics.compiled import compiled
from grokbench.spec import RunSpec
from grokbench.spec.registry import parse

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(sizing.compiler("cpu") is None, reason="no C++ compiler")


def preset_run(name: str, task: int = 0) -> RunSpec:
    p = presets.get(name)
    return RunSpec(p.tasks[task], "softmax", p.model, parse(p.optimizers["muon"]), p.criterion, p.batch, 0)


@needs_compiler
@pytest.mark.filterwarnings("default")  # of the compiler's own machinery
def test_a_compiled_step_is_the_eager_one_and_its_bits_are_the_runs_own():
    model = dataclasses.replace(GATED, depth=1)
    runs = [a_run(model, "adamw(lr=0.003)", "sparsemax", replica) for replica in range(4)]
    eager = ensemble_of(runs[:3])
    ensemble = Ensemble(runs[0], 3, CPU, compile=True)
    for slot in range(3):
        ensemble.load(slot, runs[slot])
    for _ in range(2):
        torch.testing.assert_close(ensemble.train(), eager.train(), rtol=1e-5, atol=0)
    for slot in range(3):
        torch.testing.assert_close(state(ensemble, slot), state(eager, slot), rtol=1e-3, atol=1e-5)
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    ensemble.load(1, runs[3])  # a refill
    ensemble.epoch()
    again = Ensemble(runs[0], 3, CPU, compile=True)
    again.load(0, runs[2])
    again.load(2, runs[3])
    for _ in range(3):
        again.epoch()
    ensemble.train()
    ensemble.train()
    assert torch.equal(state(ensemble, 1), state(again, 2))
    assert counters["stats"]["unique_graphs"] == graphs


@pytest.mark.filterwarnings("default")
def test_many_shapes_are_compiled_each_for_itself(monkeypatch):
    monkeypatch.setattr("torch.compile", lambda own, **_: torch._dynamo.optimize("eager", nopython=True)(own))
    for n in range(12):  # more than torch.compile allows one code object

        def scaled(x: torch.Tensor, n: int = n) -> torch.Tensor:
            return x * n

        ours = compiled(("scaled", n), scaled)
        assert torch.equal(ours(torch.ones(n + 2)), torch.full((n + 2,), float(n)))


def test_long_runs_are_compiled_and_short_ones_are_not(monkeypatch):
    monkeypatch.setattr(sizing, "compiler", lambda device: "g++")
    assert not any(sizing.pack_size(preset_run("ci", task), "cpu").compiled for task in range(7))
    with PretendedCuda(), monkeypatch.context() as patch:  # where kernels fuse the step instead
        patch.setattr(sizing, "compiler", lambda device: "triton")
        assert not sizing.pack_size(preset_run("paper"), "cuda").compiled
    plan = sizing.pack_size(preset_run("paper"), "cpu")
    assert plan.compiled
    assert plan.fixed  # a compiled step has static shapes
    monkeypatch.setattr(sizing, "compiler", lambda device: None)
    assert not sizing.pack_size(preset_run("paper"), "cpu").compiled


def test_an_empty_name_of_the_compiler_means_none(monkeypatch):
    sizing.compiler.cache_clear()
    monkeypatch.setenv("CXX", "")
    assert sizing.compiler("cpu") is None
    sizing.compiler.cache_clear()


def test_slots_follow_from_the_size_of_a_replica():
    small, large = preset_run("ci"), preset_run("paper")
    huge = dataclasses.replace(large, model=dataclasses.replace(large.transformer, width=1024, feed_forward=8192))
    slots = [sizing.pack_size(run, "cpu").slots for run in (small, large, huge)]
    assert sizing.MOST["cpu"] >= slots[0] >= slots[1] >= slots[2] == sizing.FEWEST
