"""Gradient filters against plain loops in float64, and that every setting and every slot counts for itself."""

from __future__ import annotations

import dataclasses

import pytest
import reference
import torch
from ensembles import PLAIN, TINY, a_run, ensemble_of, seldom_pretended, state

from grokbench.spec import UsageError
from grokbench.spec.registry import parse

FILTERS = ("grokfast(alpha=0.9, lamb=2.0)", "orthograd()")
BASES = ("adamw(lr=0.003, filter='{}')", "muon(lr=0.02, filter='{}')", "torch.optim:SGD(lr=0.01, filter='{}')")


class Filtered(torch.optim.AdamW):
    """AdamW that filters the gradients of its parameters one by one before it takes a step."""

    def __init__(self, params, which, **settings):
        super().__init__(params, **settings)
        self.which, self.means = which, {}

    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            g = p.grad
            if self.which == "orthograd()":
                w = p.data
                rest = g - (w.flatten() @ g.flatten()) / (w.flatten() @ w.flatten()) * w
                p.grad = rest * g.norm() / rest.norm()
                assert abs(float(p.grad.flatten() @ w.flatten())) < 1e-9 * float(w.norm() * g.norm())
            else:
                mean = self.means.get(p, g)
                self.means[p] = mean * 0.9 + g * 0.1
                p.grad = g + 2.0 * self.means[p]
        return super().step(closure)


@pytest.mark.parametrize("which", FILTERS)
def test_agrees_with_a_plain_loop_in_float64(which, monkeypatch, device):
    model = dataclasses.replace(PLAIN, dtype="float64")
    runs = [a_run(model, f"adamw(lr=0.003, filter='{which}')", replica=replica, p=7) for replica in range(2)]
    ensemble = ensemble_of(runs, device)
    monkeypatch.setattr(
        reference,
        "optimizers",
        lambda run, module: [
            Filtered(module.parameters(), which, lr=0.003, weight_decay=1.0, betas=(0.9, 0.98), eps=1e-8)
        ],
    )
    starts = [{name: w.cpu() for name, w in ensemble.weights(slot).items()} for slot in range(2)]
    means = torch.stack([ensemble.train() for _ in range(4)])
    for slot, run in enumerate(runs):
        module, losses = reference.train(run, starts[slot], 4)
        torch.testing.assert_close(means[:, slot].tolist(), losses, rtol=1e-9, atol=0)
        for name, weight in module.state_dict().items():
            assert (ensemble.weights(slot)[name].cpu() - weight).norm() <= 1e-9 * weight.norm(), name


@pytest.mark.parametrize("which", FILTERS)
@pytest.mark.parametrize("base", BASES)
@seldom_pretended
def test_bits_do_not_depend_on_the_company(which, base, device):
    first, second, third = (a_run(optimizer=base.format(which), replica=replica) for replica in range(3))
    on_gpu = device.type == "cuda"  # there, slots stay as many
    alone, company = ensemble_of([second], device, 3 if on_gpu else 1), ensemble_of([first, third, first], device)
    company.train()
    company.load(1, second)  # after another run, whose averages must be gone
    if not on_gpu:
        company.select([1, 2])
    own, other = (1, 2) if on_gpu else (0, 1)
    for _ in range(3):
        alone.train(), company.train()
    assert torch.equal(state(alone, 0), state(company, own))
    assert not torch.equal(state(company, own), state(company, other))


@pytest.mark.parametrize("which", FILTERS)
@seldom_pretended
def test_a_run_that_diverged_leaves_nothing_to_the_next_in_its_slot(which, device):
    run = a_run(TINY, f"adamw(lr=0.003, filter='{which}')", p=7)
    wild = a_run(TINY, f"adamw(lr=1e30, filter='{which}')", p=7)
    alone, after = ensemble_of([run], device), ensemble_of([wild], device)
    for _ in range(3):
        after.train()
    assert not state(after, 0).isfinite().all()
    after.load(0, run)
    for _ in range(2):
        alone.train(), after.train()
    assert torch.equal(state(alone, 0), state(after, 0))


@pytest.mark.parametrize("text", ["grokfast(alpha=0.5)", "grokfast(lamb=1.0)", "grokfast", "orthograd"])
def test_every_filter_and_setting_changes_the_trajectory(text):
    usual = ensemble_of([a_run(optimizer="adamw(lr=0.003, filter='grokfast(alpha=0.9)')")])
    turned = ensemble_of([a_run(optimizer=f"adamw(lr=0.003, filter='{text}')")])
    for ensemble in (usual, turned):
        for _ in range(2):
            ensemble.train()
    assert not torch.equal(state(usual, 0), state(turned, 0))


def test_a_gradient_along_the_weights_and_zero_weights_stay_finite():
    from test_optim import optimizer, stack, step

    weights = stack(2, torch.float32, 0)
    weights.flat[1] = 0
    gradient = stack(2, torch.float32, 1)
    gradient.flat[0] = weights.flat[0] * 3
    before = gradient.flat.clone()
    step(optimizer(weights, "sgd(lr=0.1, filter='orthograd')"), gradient)
    assert weights.flat.isfinite().all()
    assert torch.equal(gradient.flat, before), "the gradient is written to"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adamw(filter='grokslow')", "unknown gradient filter 'grokslow': choose from grokfast, orthograd"),
        ("adamw(filter='grokfast(beta=1)')", "unknown setting of grokfast 'beta': choose from alpha, lamb"),
        ("adamw(filter='grokfast(alpha=1.5)')", r"grokfast: alpha must be a number in \[0, 1\), not 1.5"),
        ("adamw(filter='grokfast(lamb=True)')", "grokfast: lamb must be a number, not True"),
        ("adamw(filter=3)", "unknown gradient filter '3'"),
    ],
)
def test_what_is_no_filter_is_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse(text)


def test_settings_are_written_out_so_that_equal_filters_share_records():
    short, long = parse("adamw(filter='grokfast')"), parse("adamw(filter='grokfast(lamb=2.0, alpha=0.98)')")
    assert short == long
    assert str(short).endswith("filter='grokfast(alpha=0.98, lamb=2.0)')")
    assert parse(str(short)) == short
