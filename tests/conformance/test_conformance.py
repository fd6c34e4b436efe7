"""The conformance suite: what it finds in optimizers that misbehave, each in one way, and that good ones pass."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from plugins import Base

from grokbench import testing
from grokbench.conformance import CHECKS, CheckOutcome, bits, conformance, examine
from grokbench.conformance.outcome import ConformanceError
from grokbench.spec import UsageError, registry

SHARED: dict[tuple[int, ...], torch.Tensor] = {}


class Remembers(Base):
    """Momentum that outlives the optimizer, by shape."""

    def change(self, p, lr):
        momentum = SHARED.setdefault(tuple(p.shape), torch.zeros_like(p))
        p.sub_(momentum.mul_(0.5).add_(p.grad), alpha=lr)


class Shares(Base):
    """One count for all objects: another replica's step scales one's own."""

    total = 0.0

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        type(self).total = 0.0

    def change(self, p, lr):
        type(self).total += float(p.grad.abs().sum())
        p.sub_(p.grad * lr / (1 + type(self).total))


class Divides(Base):
    def change(self, p, lr):
        p.sub_(p.grad / p.grad.norm() * lr)


class Forgets(Base):
    """Keeps its momentum where no state_dict finds it."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.own = {}

    def change(self, p, lr):
        p.sub_(self.own.setdefault(p, torch.zeros_like(p)).mul_(0.9).add_(p.grad), alpha=lr)


class Deaf(Base):
    """Takes a beta, and a weight_decay if it is given, and uses neither."""

    def __init__(self, params, lr=0.1, beta=0.9, **rest):
        super().__init__(params, lr)


class Late(Base):
    """A knob that acts in the thirtieth step, and one that acts only with a switch."""

    def __init__(self, params, lr=0.1, boost=2.0, floor=0.5, switch=False):
        super().__init__(params, lr)
        self.count, self.boost, self.floor = 0, boost, floor if switch else 0.0

    def step(self, closure=None):
        self.count += 1
        super().step(closure)

    def change(self, p, lr):
        p.sub_(p.grad * lr * (self.boost if self.count == 30 * 11 else 1.0) + self.floor * 1e-3)
        self.count += 10 if self.count < 300 else 0


class Decays(Base):
    """Decoupled decay of matrices, by weight_decay alone, or coupled decay of everything."""

    def __init__(self, params, lr=0.1, weight_decay=0.1, coupled=False):
        super().__init__(params, lr)
        self.decay, self.coupled = weight_decay, coupled

    def change(self, p, lr):
        momentum = self.state[p].setdefault("m", torch.zeros_like(p))
        gradient = p.grad + self.decay * p if self.coupled else p.grad
        if p.ndim == 2 and not self.coupled:
            p.mul_(1 - self.decay)
        p.sub_(momentum.mul_(0.9).add_(gradient), alpha=lr)


class Seeds(Base):
    """Draws the same numbers whenever it is made."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        random.seed(1)
        np.random.seed(1)


class Plain(Base):
    """For matrices, and promises nothing."""

    grokbench_parameters = "matrices"


class Slanted(Plain):
    """Promises to orthogonalise, and does not."""

    grokbench_condition = 1.87


class Modest(Plain):
    grokbench_condition = 25.0


class Idle(Slanted):
    """Skips its first step."""

    def change(self, p, lr):
        if self.state[p].setdefault("seen", False):
            super().change(p, lr)
        self.state[p]["seen"] = True


class HalfDeaf(Base):
    """Reads one of two betas; `chunk` is declared to be of its speed alone."""

    grokbench_inert = ("chunk",)

    def __init__(self, params, lr=0.1, betas=(0.9, 0.99), chunk=4, weight_decay=None):
        super().__init__(params, lr)
        self.beta = betas[0]

    def change(self, p, lr):
        p.sub_(p.grad * lr * self.beta)


class LateLoss(Base):
    """A count that no state_dict has, and that acts in every twentieth step."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.count = 0

    def step(self, closure=None):
        self.count += 1
        super().step(closure)

    def change(self, p, lr):
        p.sub_(p.grad * lr * (3.0 if self.count % 20 == 0 else 1.0))


class ReadsOnce(Base):
    """Reads a rate that is a tensor when it is made."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.number = float(lr) if isinstance(lr, torch.Tensor) else None

    def change(self, p, lr):
        super().change(p, self.number or lr)


class WritesLater(Base):
    def change(self, p, lr):
        state = self.state[p]
        state["n"] = state.get("n", 0) + 1
        p.sub_(p.grad.mul_(0.5) if state["n"] > 5 else p.grad, alpha=lr)


def test_a_broken_one_fails_the_assertion():
    with pytest.raises(AssertionError, match=r"RaisesAtOnce: runs: the optimizer .* KeyError"):
        testing.assert_conforms("plugins:RaisesAtOnce")


def found(optimizer, name):
    return examine(registry.parse(optimizer), name, alone=True)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", pytest.param("muon", marks=pytest.mark.slow)])
def test_good_optimizers_conform(optimizer):
    findings = list(conformance(registry.parse(optimizer)))
    assert [f.check for f in findings] == list(CHECKS)
    assert [f for f in findings if f.outcome is CheckOutcome.BREAKS] == []


@pytest.mark.parametrize(
    ("optimizer", "name", "text"),
    [
        ("plugins:RaisesAtOnce", "runs", "could not be made: KeyError"),
        ("torch.optim:LBFGS", "runs", "failed at step 1: TypeError"),
        ("test_conformance:Base(lr=0.0)", "runs", "11 of 11 parameters never move"),
        ("test_conformance:Base(lr=1e38)", "runs", "is not finite after 8 epochs"),
        ("test_conformance:Remembers", "deterministic", "something outlives the optimizer"),
        ("test_conformance:Shares", "independent", "changes the weights of its neighbours"),
        ("test_conformance:Divides", "finite", "zero gradients make weights that are not finite"),
        ("plugins:WritesGradient", "gradients untouched", "step 1 writes into the gradient of layers.0"),
        ("test_conformance:Forgets", "state_dict", "saved after 25 steps and loaded into a new one, layers.0"),
        ("test_conformance:Deaf", "no dead knobs", "changes nothing: beta"),
        ("test_conformance:HalfDeaf", "weight decay", "a weight_decay of 0.1 changes nothing"),
        ("test_conformance:Slanted", "spectrum", "is 20, not 1.87 at the most"),
        ("test_conformance:Idle", "spectrum", "is 20, not 1.87 at the most"),
        ("test_conformance:HalfDeaf", "no dead knobs", "changes nothing: betas[1]"),
        ("test_conformance:LateLoss", "state_dict", "saved after 25 steps and loaded into a new one, layers.0"),
        ("test_conformance:WritesLater", "gradients untouched", "step 6 writes into the gradient"),
        ("test_conformance:ReadsOnce", "live rate", "a tensor that it is given as the rate is filled with 0"),
        ("muon(ns_steps=1)", "spectrum", "not 1.87 at the most"),
        ("torch.optim:Muon(parameters='matrices')", "spectrum", "for gradients of norm 1e-08 the ratio"),
    ],
)
def test_what_is_broken_is_found(optimizer, name, text):
    finding = found(optimizer, name)
    assert finding.outcome is CheckOutcome.BREAKS
    assert text in finding.text


def test_what_is_seeded_anew_is_named():
    with pytest.raises(ConformanceError, match=r"when it is made it seeds random, numpy\.random anew"):
        bits.generators(registry.parse("test_conformance:Seeds"))
    assert bits.generators(registry.parse("plugins:Noisy")).outcome is CheckOutcome.HOLDS


def test_what_draws_random_numbers_is_deterministic_on_its_runs_own():
    assert found("plugins:Noisy", "deterministic").outcome is CheckOutcome.HOLDS
    assert found("plugins:Noisy", "independent").text == "another gradient changes nothing"


@pytest.mark.parametrize(
    ("optimizer", "text"),
    [
        ("adamw", "decoupled: a step takes lr · weight_decay of all parameters"),
        ("muon", "decoupled: a step takes lr · weight_decay of the hidden matrices"),
        ("sgd(weight_decay=0.1)", "coupled: added to the gradient of all parameters"),
        ("torch.optim:Adam", "coupled: added to the gradient of all parameters"),
        ("torch.optim:SGD", "decoupled: a step takes lr · weight_decay of all parameters, which here is coupled, too"),
        ("test_conformance:Decays", "decoupled: a step takes weight_decay of matrices"),
        ("test_conformance:Decays(coupled=True)", "coupled: added to the gradient of all parameters"),
        ("pytorch_optimizer:Lamb", "on all parameters; its updates depend on the weights"),
    ],
)
def test_weight_decay_is_described(optimizer, text):
    finding = found(optimizer, "weight decay")
    assert finding.outcome is CheckOutcome.SAID
    assert finding.text.endswith(text)


def test_knobs_that_act_late_or_beside_another_are_not_dead():
    finding = found("test_conformance:Late", "no dead knobs")
    assert finding.outcome is CheckOutcome.HOLDS
    assert finding.text == "each of 4 changes the weights; floor only together with switch"


def test_torchs_muon_orthogonalises_and_decays_apart():
    muon = "torch.optim:Muon(parameters='matrices', eps=1e-30)"
    assert found(muon, "spectrum").text.endswith("no ratio is promised")
    assert 1 < float(found(muon, "spectrum").text.partition(" is ")[2].partition(";")[0]) < 1.87
    assert "alignment of U Vᵀ with the gradient's is 1 in" in found(muon, "spectrum").text
    assert found(muon, "weight decay").text == "decoupled: a step takes lr · weight_decay of the hidden matrices"
    assert found(muon, "state_dict").outcome is CheckOutcome.HOLDS


def test_a_declared_condition_is_what_counts():
    assert found("test_conformance:Modest", "spectrum").outcome is CheckOutcome.HOLDS
    assert found("test_conformance:Plain", "spectrum").outcome is CheckOutcome.SAID
    assert found("adamw", "spectrum").outcome is CheckOutcome.SKIPPED
    assert found("muon(orthogonalize=False)", "spectrum").outcome is CheckOutcome.SKIPPED


def test_the_size_of_updates_is_said_without_their_decay():
    assert found("adamw", "size") == (
        "size",
        CheckOutcome.SAID,
        "root mean square of the updates at steps 1, 10, 100, 1000: 0.001, 0.001, 0.001, 0.001",
    )


@settings(max_examples=20, deadline=None)
@given(testing.matrices(condition=100.0))
def test_matrices_have_spectra_of_the_chosen_condition(matrix):
    values = torch.linalg.svdvals(matrix)
    assert values[0] <= 100 * values[-1] * (1 + 1e-6)


def test_a_spectrum_is_that_which_was_asked_for():
    values = np.array([3.0, 2.0, 0.5])
    assert torch.linalg.svdvals(testing.with_spectrum((3, 5), values)).tolist() == pytest.approx(values.tolist())
    with pytest.raises(UsageError, match=r"shape \(3, 5\) has 3 singular values"):
        testing.with_spectrum((3, 5), [1.0])
