"""Modules as models: exact, alone as in company, with every optimizer."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
import torch
from ensembles import CPU, DEVICES, OPTIMIZERS, PLAIN, PLUG_IN, a_run, ensemble_of, seldom_pretended, state
from modules import Plain
from pretend_cuda import NAME

from grokbench.engine.kinds import ensemble
from grokbench.engine.modules import ModuleEnsemble
from grokbench.engine.pack import Pack
from grokbench.engine.sizing import pack_size
from grokbench.models.module import make, parameters
from grokbench.spec import ModelSpec, ModuleSpec, RunSpec, UsageError, task
from grokbench.spec.model import parse
from grokbench.spec.registry import parse as optimizer

SIZES: dict[str, Any] = {"width": 32, "depth": 1, "heads": 4, "feed_forward": 48}


def plugged(text: str, **changes: Any) -> RunSpec:
    return dataclasses.replace(a_run(model=parse(text, PLAIN)), **changes)


def together(
    *runs: RunSpec, epochs: int = 2, device: torch.device = CPU, slots: int | None = None
) -> list[torch.Tensor]:
    stack = ensemble_of(runs, device, slots)
    for _ in range(epochs):
        stack.epoch()
    return [state(stack, slot) for slot in range(len(runs))]


@pytest.mark.parametrize("text", [*OPTIMIZERS, PLUG_IN, "muon(lr=0.02, filter='orthograd', warmup=3)"])
@seldom_pretended
def test_our_transformer_plugged_in_trains_as_the_fast_path_does(text: str, device: torch.device) -> None:
    fast = a_run(model=ModelSpec(**SIZES, dtype="float64"), optimizer=text)
    settings = ", ".join(f"{key}={value}" for key, value in SIZES.items())
    slow = dataclasses.replace(fast, model=parse(f"modules:reference({settings}, dtype='float64')", PLAIN))
    assert slow.key == fast.key
    one, other = (ensemble(run, 2, device) for run in (fast, slow))
    assert isinstance(other, ModuleEnsemble)
    for slot in range(2):
        for stack, run in ((one, fast), (other, slow)):
            stack.load(slot, dataclasses.replace(run, replica=slot))
        for name, view in one._weights.views.items():
            other._weights.views[name][slot] = view[slot]
    for _ in range(4):  # of six steps
        ours, theirs = one.epoch(), other.epoch()
        for figures in zip(ours, theirs, strict=True):
            assert np.allclose(*figures, rtol=1e-9, atol=1e-12)
    for slot in range(2):
        theirs_weights = other.weights(slot)
        for name, weight in one.weights(slot).items():
            assert torch.allclose(weight, theirs_weights[name], rtol=1e-9, atol=1e-11), name
        a, b = (stack.diagnose(slot, 1) for stack in (one, other))
        assert dataclasses.astuple(a) == pytest.approx(dataclasses.astuple(b), rel=1e-8)


@pytest.mark.parametrize("model", ["modules:Plain", "modules:Lstm(width=15)", "mlp(width=17, depth=1)"])
@pytest.mark.parametrize("text", ["adamw", "muon(filter='orthograd')", PLUG_IN])
@seldom_pretended
def test_bits_are_the_same_alone_in_company_and_after_a_refill(model: str, text: str, device: torch.device) -> None:
    run = plugged(model, optimizer=optimizer(text))
    runs = [dataclasses.replace(run, replica=r) for r in range(3)]
    on_gpu = device.type == "cuda"  # there, slots are always as many
    if on_gpu and "17" in model and torch.cuda.get_device_name(device) == NAME:
        pytest.skip("it computes as a processor does, where a slice that fills no cache lines rounds by its place")
    slots = 3 if on_gpu else None
    lone = together(runs[2], device=device, slots=slots)[0]
    assert torch.equal(together(*runs, device=device)[2], lone)
    stack = ensemble(runs[0], 3, device)
    for slot in range(2):
        stack.load(slot, runs[slot])
    stack.epoch()
    stack.clear(0)
    stack.load(0, runs[2])  # in another slot, while another is empty
    stack.epoch()
    if not on_gpu:
        stack.select([1, 0])
    stack.epoch()
    assert torch.equal(state(stack, 0 if on_gpu else 1), lone)
    assert not torch.equal(together(runs[1], device=device, slots=slots)[0], lone)


@pytest.mark.parametrize("text", ["modules:Plain(dropout=0.0)", "modules:Lstm", "mlp(depth=1, width=16)"])
@pytest.mark.parametrize("device", DEVICES[1:], indirect=True)
def test_a_gpu_trains_a_module_as_the_processor_does(text: str, device: torch.device) -> None:
    """Also after a refill. Not with dropout, of which CUDA draws other numbers."""
    run = plugged(text, task=task("add", 5))
    runs = [dataclasses.replace(run, replica=r) for r in range(3)]

    def trained(place: torch.device) -> tuple[list[float], torch.Tensor]:
        stack = ensemble_of(runs[:2], place)
        stack.epoch()
        stack.load(0, runs[2])
        stack.select([1, 0])
        evaluation = stack.epoch()
        return evaluation.validation_loss.tolist(), torch.stack([state(stack, slot) for slot in range(2)])

    losses, weights = trained(device)
    expected, expected_weights = trained(CPU)
    assert losses == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(weights, expected_weights, rtol=1e-3, atol=1e-5)


def test_evaluation_changes_nothing_and_buffers_are_state(device: torch.device) -> None:
    run = plugged("modules:Plain", task=task("add", 7))
    stack = ensemble(run, 2, device)
    for slot in range(2):
        stack.load(slot, dataclasses.replace(run, replica=slot))
    for _ in range(2):
        stack.train()
        for _ in range(3):
            stack.measure([1], "validation", 8)
    assert isinstance(stack, ModuleEnsemble)
    first, second = (module.norm for module in stack._modules if isinstance(module, Plain))
    assert not torch.equal(first.state_dict()["running_mean"], second.state_dict()["running_mean"])
    assert torch.equal(state(stack, 0), together(run, device=device, slots=2)[0])


@seldom_pretended
def test_dropout_is_drawn_from_the_runs_own_stream(device: torch.device) -> None:
    run = plugged("modules:Plain(dropout=0.5)", task=task("add", 7))
    other = plugged("modules:Plain(dropout=0.1)", task=task("add", 7))
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = together(run, device=device)[0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(together(run, device=device)[0], first)
    assert not torch.equal(together(other, device=device)[0], first)


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("modules:Plain", {"middle.weight"}),
        ("modules:Lstm", {"lstm.weight_ih_l0", "lstm.weight_hh_l0"}),
        ("modules:Tied", {"middle.weight"}),
        ("modules:Linear", set()),
        ("modules:Declares", {"head.weight"}),
        ("mlp(depth=2, width=8)", {"layers.0.weight", "layers.2.weight"}),
        ("mlp(depth=1, width=8, embedded=False)", {"layers.0.weight"}),
    ],
)
def test_hidden_matrices_are_found_or_declared(text: str, hidden: set[str]) -> None:
    run = plugged(text)
    slices = parameters(run.model, run.task)
    assert {s.name for s in slices if s.hidden} == hidden
    assert [s.hidden for s in slices] == sorted((s.hidden for s in slices), reverse=True)
    assert all(s.offset % 16 == 0 for s in slices)


def test_a_module_that_shares_a_matrix_trains_it_once(device: torch.device) -> None:
    run = plugged("modules:Tied", optimizer=optimizer("muon"), task=task("add", 5))
    assert "head.weight" not in {s.name for s in parameters(run.model, run.task)}
    assert together(run, device=device)[0].isfinite().all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modules:nothing", "the model modules:nothing made a NoneType, not a torch.nn.Module"),
        ("modules:Frozen", "the model modules:Frozen has no parameters to train"),
        ("modules:PerToken", "the model modules:PerToken gave scores of shape (2, 4, 11), not of shape (2, 11)"),
        ("modules:Plain(depth=3)", "the model modules:Plain(depth=3) could not be made: TypeError: "),
        ("modules:Fails", "the model modules:Fails failed at step 3: RuntimeError: no luck today (modules.py, line "),
        ("modules:Sets", "the model modules:Sets changed torch's global settings: dtype from torch.float32 to"),
        (
            "modules:Declares(hidden=('tail',))",
            "unknown parameter of modules:Declares(hidden=('tail',)) in grokbench_hidden",
        ),
        ("modules:Declares(hidden=('head.bias',))", "in grokbench_hidden, but no matrix: (11,)"),
        ("mlp(activation='step')", "unknown activation 'step': choose from relu, gelu, silu, tanh"),
        ("mlp(depth=0)", "depth must be a whole number of at least 1, not 0"),
        ("mlp(dtype='float16')", "unknown dtype 'float16': choose from float32, float64"),
        ("mlp(heads=2)", "unknown setting of mlp 'heads': choose from width, depth, activation, embedded, dtype"),
        ("perceptron", "unknown model 'perceptron': choose from transformer, mlp, package.module:Attribute"),
        ("modules:Gone", "cannot import the model 'modules:Gone': AttributeError"),
        ("transformer(norms=1)", "norms must be True or False, not 1"),
        ("transformer(size=1)", "unknown setting of transformer 'size': choose from width, depth, heads"),
    ],
)
def test_what_is_wrong_with_a_model_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        together(plugged(text))
    assert torch.get_default_dtype() is torch.float32


def test_an_optimizer_of_matrices_needs_some() -> None:
    run = plugged("modules:Linear", optimizer=optimizer("muon"))
    with pytest.raises(UsageError, match="an optimizer of matrices cannot train this model: it has no hidden matrices"):
        together(run)


@seldom_pretended
def test_a_run_that_diverges_harms_no_other(device: torch.device) -> None:
    wild = plugged("modules:Fails(after=99)", optimizer=optimizer("sgd(lr=3e38)"), task=task("add", 7))
    runs = [wild, dataclasses.replace(wild, optimizer=optimizer("sgd(lr=0.1)"))]
    stack = ensemble(wild, 2, device)
    for slot, run in enumerate(runs):
        stack.load(slot, run)
    found = [stack.epoch() for _ in range(3)][-1]
    assert found.finite.tolist() == [False, True]
    assert torch.equal(state(stack, 1), together(runs[1], epochs=3, device=device, slots=2)[0])


def test_want_of_memory_is_never_a_divergence(device: torch.device) -> None:
    run = plugged("modules:Fails(after=99, words='out of memory')", optimizer=optimizer("sgd(lr=3e38)"))
    with pytest.raises(RuntimeError, match="out of memory"):
        together(run, epochs=3, device=device)


def test_a_pack_trains_modules_eagerly(device: torch.device) -> None:
    run = plugged("modules:Plain", task=task("add", 7))
    endless = dataclasses.replace(run, criterion=dataclasses.replace(run.criterion, budget=10**9))
    size = pack_size(endless, device.type)
    assert not size.compiled
    pack = Pack(size)
    pack.queue[run.digest] = run
    pack.take([run], device)
    assert pack.epoch() == []
    assert 0 < pack.active[0].latest[0] < 1


def test_a_model_is_part_of_the_run_and_not_of_its_stream() -> None:
    one, other = plugged("modules:Plain(width=13)"), plugged("modules:Plain")
    assert len({one.digest, other.digest, a_run().digest}) == 3
    assert one.key == other.key == a_run().key
    assert RunSpec.from_json(one.to_json()) == one
    assert isinstance(one.model, ModuleSpec)
    assert one.model.fingerprint
    first, second = (make(one.model, one.task, key) for key in (1, 2))
    assert not torch.equal(first.head.weight, second.head.weight)  # type: ignore[union-attr, arg-type]


@seldom_pretended
def test_a_transformer_without_norms(device: torch.device) -> None:
    run = a_run(model=dataclasses.replace(PLAIN, norms=False), p=5)
    assert not any("norm" in s.name for s in parameters(run.model, run.task))
    (trained,) = together(run, device=device)
    assert trained.isfinite().all()
    assert parse("transformer(norms=False)", PLAIN) == run.model
    assert a_run(p=5).digest != run.digest
