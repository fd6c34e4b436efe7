"""Modules are trained all at once where nothing but the rounding changes by it, and only there."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from ensembles import CPU, PLAIN, PLUG_IN, a_run, seldom_pretended, state

from grokbench.engine import kinds
from grokbench.engine.ensemble import Ensemble
from grokbench.engine.kinds import ensemble, obstacle
from grokbench.engine.modules import ModuleEnsemble
from grokbench.engine.vmapped import VmappedEnsemble
from grokbench.models.module import parameters
from grokbench.records.store import Store
from grokbench.spec import RunSpec, UsageError, task
from grokbench.spec.model import parse
from grokbench.spec.registry import parse as optimizer
from grokbench.training.trainer import Trainer

EVEN = "mlp(width=16, depth=1)"


def run_of(model: str, **changes: Any) -> RunSpec:
    return dataclasses.replace(a_run(model=parse(model, PLAIN)), batch=32, **changes)


def loaded(stack: Ensemble, *runs: RunSpec) -> Ensemble:
    for slot, run in enumerate(runs):
        stack.load(slot, run)
    return stack


@pytest.mark.parametrize("model", [EVEN, "mlp(width=32, activation='silu')", "modules:Modulo", "modules:Projected"])
@seldom_pretended
def test_functions_of_weights_and_tokens_go_all_at_once(model: str, device: torch.device) -> None:
    run = run_of(model, task=task("add", 7))
    assert obstacle(run, device) is None
    assert type(ensemble(run, 2, device)) is VmappedEnsemble


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("modules:Plain", "torch.func.vmap cannot do it: vmap: called random operation"),
        ("modules:Plain(dropout=0.0)", "it keeps something from step to step"),  # running means
        ("modules:Counts", "it keeps something from step to step"),
        ("modules:Lucky", "its replicas differ in more than the values of parameters and buffers"),
        ("modules:Undeclared", "it does not declare grokbench_stacked = True"),
        ("modules:Peak", "declares grokbench_stacked, but puts another tensor in place of its buffer peak"),
        ("modules:Indexed", "torch.func.vmap cannot do it"),  # where a replica has diverged
        ("modules:Kept", "it keeps a tensor that is neither a parameter nor a buffer"),
        ("modules:Coupled", "torch.func.vmap computes something else"),
        ("modules:Fails", "torch.func.vmap cannot do it: vmap: It looks like you're attempting"),
        ("modules:reference(width=32, depth=1, heads=4, feed_forward=48)", "cannot do it: There is a performance drop"),
        ("mlp(width=17, depth=1)", "its products have slices that fill no cache lines, as one of shape (6, "),
    ],
)
def test_others_go_one_by_one_and_it_is_said_why(model: str, reason: str) -> None:
    run = run_of(model)
    assert reason in (obstacle(run, CPU) or "")
    assert type(ensemble(run, 2, CPU)) is ModuleEnsemble


def test_a_slot_that_depends_on_another_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaks(VmappedEnsemble):
        def _scores(self, *arguments: Any) -> torch.Tensor:
            found = super()._scores(*arguments)
            return found + 1e-7 * found.detach().mean()

    monkeypatch.setattr(kinds, "VmappedEnsemble", Leaks)
    kinds._tried.cache_clear()
    assert obstacle(run_of(EVEN), CPU) == "its bits would depend on the other replicas"
    kinds._tried.cache_clear()


@pytest.mark.parametrize("text", ["adamw", "muon(filter='orthograd')", PLUG_IN])
@pytest.mark.parametrize("model", [EVEN, "modules:Projected"])
@seldom_pretended
def test_bits_are_the_same_alone_in_company_and_after_a_refill(model: str, text: str, device: torch.device) -> None:
    if model == "modules:Projected" and text.startswith("muon"):
        pytest.skip("it has no hidden matrix")
    run = run_of(model, optimizer=optimizer(text))
    runs = [dataclasses.replace(run, replica=r) for r in range(3)]
    on_gpu = device.type == "cuda"  # there, slots stay as many
    lone = loaded(ensemble(run, 3 if on_gpu else 1, device), runs[2])
    stack = loaded(ensemble(run, 3, device), *runs[:2])
    assert isinstance(stack, VmappedEnsemble)
    stack.epoch()
    stack.clear(0)
    stack.load(0, runs[2])  # in another slot, while another is empty
    for at in ([0, 1, 2], [1, 0, 2] if on_gpu else [1, 0]):
        stack.select(at)
        one, other = stack.epoch(), lone.epoch()
        assert one.validation_loss[at.index(0)] == other.validation_loss[0]
        assert stack.measure([at.index(0)], "train", 8).accuracy == lone.measure([0], "train", 8).accuracy
    assert torch.equal(state(stack, 1), state(lone, 0))


@pytest.mark.parametrize("model", ["mlp(width=16, depth=2, dtype='float64')", "modules:Projected(dtype='float64')"])
def test_it_trains_as_one_by_one(model: str) -> None:
    run = run_of(model)
    runs = [dataclasses.replace(run, replica=r) for r in range(2)]
    one, other = (loaded(kind(run, 3, CPU), *runs) for kind in (VmappedEnsemble, ModuleEnsemble))
    for _ in range(4):
        for ours, theirs in zip(one.epoch(), other.epoch(), strict=True):
            assert np.allclose(ours[:2], theirs[:2], rtol=1e-9, atol=1e-12)
    for slot in range(2):
        plain = other.weights(slot)
        assert all(torch.allclose(w, plain[name], rtol=1e-9, atol=1e-11) for name, w in one.weights(slot).items())


def test_a_run_that_diverges_leaves_the_others_alone(device: torch.device) -> None:
    run = run_of(EVEN, task=task("add", 7))
    wild = dataclasses.replace(run, optimizer=optimizer("adamw(lr=1e30, weight_decay=0.0)"))
    slots = 2 if device.type == "cuda" else 1
    stack, lone = loaded(ensemble(run, 2, device), wild, run), loaded(ensemble(run, slots, device), run)
    for _ in range(3):
        seen = stack.epoch()
        lone.epoch()
    assert list(seen.finite) == [False, True]
    assert torch.equal(state(stack, 1), state(lone, 0))


def test_records_say_that_they_were_stacked(tmp_path: Any) -> None:
    run = run_of(EVEN, criterion=dataclasses.replace(a_run().criterion, budget=2))
    with Store(tmp_path / "s.sqlite") as store, Trainer(store, "cpu", 1) as trainer:
        (record,) = trainer.train([run]).values()
    assert record.provenance.compiler == "torch.func.vmap"


def test_want_of_memory_for_all_at_once_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Large(VmappedEnsemble):
        def _scores(self, *arguments: Any) -> torch.Tensor:
            raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(kinds, "VmappedEnsemble", Large)
    kinds._tried.cache_clear()
    assert obstacle(run_of(EVEN), CPU) == "torch.func.vmap cannot do it: out of memory"
    kinds._tried.cache_clear()


@pytest.mark.parametrize(
    ("model", "batch"),
    [("modules:Sigmoid", 16), ("modules:Scaled", 32), ("mlp(width=12, depth=1, activation='silu')", 4), (EVEN, 40)],
)
def test_what_rounds_by_where_it_lies_goes_one_by_one(model: str, batch: int) -> None:
    """Some of these have the same bits in most slots, so comparing a few slots would not tell."""
    run = dataclasses.replace(run_of(model), batch=batch)
    assert "so the bits of a replica would depend on its slot" in (obstacle(run, CPU) or "")


ROUNDED = {
    "addcdiv": lambda x: torch.addcdiv(x, x + 1, x.abs() + 0.3, value=0.7),
    "addcmul": lambda x: torch.addcmul(x, x + 1, x - 0.3, value=0.7),
    "cos": torch.cos,
    "div": lambda x: x / (x.abs() + 0.3),
    "erf": torch.erf,
    "exp": torch.exp,
    "expm1": torch.expm1,
    "lerp": lambda x: torch.lerp(x, x * 3 + 1, 0.3),
    "log1p": lambda x: x.abs().log1p(),
    "mul": lambda x: x * (x + 0.7),
    "reciprocal": lambda x: (x.abs() + 0.1).reciprocal(),
    "rsqrt": lambda x: (x.abs() + 0.1).rsqrt(),
    "sin": torch.sin,
    "sqrt": lambda x: x.abs().sqrt(),
    "tanh": torch.tanh,
}
"""Of `kinds.EXACT` those that are more than a choice, a copy, or the sum of two numbers."""


@pytest.mark.parametrize("name", ROUNDED)
def test_these_round_each_element_alike_wherever_it_lies(name: str) -> None:
    assert name in kinds.EXACT
    x = 3 * torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    whole = ROUNDED[name](x)
    for size in (1, 7, 33):  # a few, which fill no vector, and others that end within one
        parts = torch.cat([ROUNDED[name](part) for part in x.split(size)])
        assert torch.equal(parts, whole)


def test_a_replica_that_is_another_function_is_refused() -> None:
    """A trial cannot see all replicas. So each is looked at when its run begins."""
    run = run_of("modules:Chance")
    stack = VmappedEnsemble(run, 8, CPU)
    with pytest.raises(UsageError, match="modules:Chance declares grokbench_stacked, but its replicas differ in more"):
        loaded(stack, *(dataclasses.replace(run, replica=replica) for replica in range(8)))


def test_the_trial_says_the_same_whatever_was_asked_before() -> None:
    run = run_of("mlp(width=48, depth=1)")
    kinds._tried.cache_clear()
    parameters.cache_clear()
    fresh = obstacle(run, CPU)
    kinds._tried.cache_clear()
    assert obstacle(run, CPU) == fresh is None
