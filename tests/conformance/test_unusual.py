"""What is right, though it is unusual: no check may have anything against it."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from plugins import Base

from grokbench.conformance import CheckOutcome, examine
from grokbench.spec import registry


class Rotated(Base):
    """Takes signs in the gradient's singular vectors, where all but the diagonal is rounding."""

    def change(self, p, lr):
        if p.ndim == 2:
            u, _, v = torch.linalg.svd(p.grad, full_matrices=False)
            p.sub_(u @ (u.mT @ p.grad @ v.mT).sign() @ v, alpha=lr)
        else:
            super().change(p, lr)


class Polar(Base):
    """Orthogonalised, and as large as the gradient."""

    def change(self, p, lr):
        u, s, v = torch.linalg.svd(p.grad, full_matrices=False)
        p.sub_(u @ v, alpha=1e-6 * float(s.sum()))


class Waits(Base):
    """Takes the gradient of ten steps before, so that nothing moves until then."""

    def change(self, p, lr):
        kept = self.state[p].setdefault("kept", [])
        kept.append(p.grad.clone())
        if len(kept) > 10:
            p.sub_(kept.pop(0), alpha=lr)


class Chooses(Base):
    """A knob that acts with one of three words alone, and one that acts where decay is not multiplied by the rate."""

    def __init__(
        self, params, lr=1.0, rho=0.5, fixed=False, weight_decay=0.0, kind: Literal["plain", "mean", "root"] = "plain"
    ):
        super().__init__(params, lr)
        self.rho, self.kind, self.decay, self.fixed = rho, kind, weight_decay, fixed

    def change(self, p, lr):
        p.mul_(1 - self.decay * (1.0 if self.fixed else lr))
        p.sub_(p.grad, alpha=lr * (self.rho if self.kind == "root" else 1.0))


class Shakes(Base):
    """Draws noise in the layout of the parameter."""

    def change(self, p, lr):
        p.sub_(p.grad + 0.1 * torch.randn_like(p), alpha=lr)


def found(name, check):
    return examine(registry.parse(f"test_unusual:{name}"), check, alone=True)


def test_noise_in_the_layout_of_a_parameter_is_no_fault():
    assert found("Shakes", "parameters").outcome is CheckOutcome.HOLDS


def test_rounding_that_a_rule_makes_much_of_is_no_fault():
    assert found("Rotated", "parameters").outcome is CheckOutcome.HOLDS


def test_knobs_that_act_with_a_word_or_at_another_rate_are_not_dead():
    finding = found("Chooses", "no dead knobs")
    assert finding.outcome is CheckOutcome.HOLDS
    assert "rho only together with kind" in finding.text
    assert "fixed only together with lr and weight_decay" in finding.text


@pytest.mark.parametrize("check", ["runs", "live rate", "groups", "shape", "parameters", "state_dict", "formats"])
def test_one_that_stands_still_at_first_has_no_alarm(check):
    assert found("Waits", check).outcome in (CheckOutcome.HOLDS, CheckOutcome.SAID)


def test_an_update_as_small_as_its_gradient_is_orthogonal():
    assert found("Polar(parameters='matrices')", "spectrum").outcome is CheckOutcome.SAID
