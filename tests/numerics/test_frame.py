"""Torch's global numerics are the engine's while it trains and as before afterwards, and what is relied on there."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from ensembles import a_run, ensemble_of, state

from grokbench.numerics import frame
from grokbench.numerics.foreign import repeatable

FOREIGN = {
    "threads": 2,
    "gradients": False,
    "dtype": torch.float64,
    "device": torch.device("meta"),
    "precision": "medium",
    "TF32 in products": True,
    "TF32 in cuDNN": True,
    "deterministic": True,
    "anomaly mode": True,
}


@pytest.fixture
def as_before():
    before = frame.state()
    yield
    frame._set(before)


def test_every_setting_has_a_value_of_ours_and_one_that_is_tried_here():
    assert set(frame.SETTINGS) == set(frame.OURS) == set(FOREIGN)


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_setting_neither_acts_on_a_run_nor_is_lost(name, as_before):
    """As when the module of a plug-in sets it while it is imported."""
    expected = ensemble_of([a_run()])
    expected.epoch()
    _, write = frame.SETTINGS[name]
    write(FOREIGN[name])
    before = frame.state()
    assert before[name] == FOREIGN[name]
    ensemble = ensemble_of([a_run()])
    ensemble.epoch()
    assert frame.state() == before
    assert torch.equal(state(ensemble, 0), state(expected, 0))


def test_settings_are_restored_after_an_error_and_whatever_was_done_inside(as_before):
    before = frame.state()

    def fail():
        with frame.numerics():
            torch.set_num_threads(2)
            torch.set_default_dtype(torch.float64)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert frame.state() == before


def stack(*shape, seed=0):
    return torch.randn(7, *shape, generator=torch.Generator().manual_seed(seed))


def quadratic(x):
    """A step of Newton–Schulz, as the optimizers take it."""
    gram = x @ x.mT
    return torch.baddbmm(3.4445 * x, torch.baddbmm(-4.775 * gram, gram, gram, alpha=2.0315), x)


# What an ensemble computes, at the shapes of the presets: (7, …) of all replicas must be, bit by bit, that of each.
OPERATIONS = {
    "one query a row": (lambda x, w: torch.bmm(x, w.mT), (1, 128), (128, 128)),
    "a linear layer": (lambda x, w: torch.bmm(x, w.mT), (256, 128), (512, 128)),
    "a gradient of weights": (lambda x, y: torch.bmm(x.mT, y), (256, 128), (256, 512)),
    "a small product": (lambda x, w: torch.bmm(x, w), (33, 16), (16, 31)),
    "Newton–Schulz, 64": (lambda x, _: quadratic(x), (64, 64), (1,)),
    "Newton–Schulz, 128": (lambda x, _: quadratic(x), (128, 128), (1,)),
    "Newton–Schulz, wide": (lambda x, _: quadratic(x), (128, 512), (1,)),
    "sigmoid": (lambda x, _: torch.sigmoid(x), (256, 512), (1,)),
    "silu": (lambda x, _: F.silu(x), (256, 512), (1,)),
    "power": (lambda x, _: x.abs() ** 0.3, (256, 512), (1,)),
    "exp": (lambda x, _: x.exp(), (256, 512), (1,)),
    "log": (lambda x, _: (x.abs() + 1).log(), (256, 512), (1,)),
    "roots": (lambda x, _: x.abs().rsqrt() + x.abs().sqrt(), (256, 512), (1,)),
    "lerp and addcdiv": (lambda x, _: torch.addcdiv(x.lerp(2 * x, 0.1), x, x.abs() + 1e-8), (240, 400), (1,)),
    "sum of a row": (lambda x, _: x.sum(-1), (256, 1024), (1,)),
    "softmax": (lambda x, _: x.softmax(-1), (256, 97), (1,)),
    "sparsemax's sums": (lambda x, _: torch.where(x > -1, x, 0).sum(-1, keepdim=True), (256, 97), (1,)),
    "norm of a matrix": (lambda x, _: x.square().sum((-2, -1)).sqrt(), (128, 512), (1,)),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_in_one_thread_company_changes_no_bit_of_an_operation(operation):
    function, first, second = OPERATIONS[operation]
    x, y = stack(*first), stack(*second, seed=1)
    with frame.numerics():
        together = function(x, y)
        for chosen in ([0], [6], [2, 5], [1, 3, 4]):
            assert torch.equal(function(x[chosen], y[chosen]), together[chosen])


def test_foreign_code_on_a_gpu_takes_deterministic_operations() -> None:
    on = torch.are_deterministic_algorithms_enabled
    with repeatable(torch.device("cpu")):
        assert not on()
    with repeatable(torch.device("cuda")):
        assert on()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not on()
