"""An optimizer that trains other weights than it wants evaluated: schedule-free SGD in its smallest form."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import reference
import tiny as tiny_preset
import torch
from ensembles import seldom_pretended

from grokbench.engine.ensemble import Ensemble

SOURCE = """
import torch
from ensembles import seldom_pretended


class Free(torch.optim.Optimizer):
    # y, that is trained, lies between the average x and z (Defazio et al. 2024, arXiv 2405.15682)
    def __init__(self, params, lr=0.5, beta=0.9):
        super().__init__(params, dict(lr=lr, beta=beta, training=False, k=0))

    def _lerp(self, group, share):
        for p in group["params"]:
            if "z" in self.state[p]:
                p.lerp_(self.state[p]["z"], share)

    @torch.no_grad()
    def train(self):
        for group in self.param_groups:
            if not group["training"]:
                self._lerp(group, 1 - group["beta"])
            group["training"] = True

    @torch.no_grad()
    def eval(self):
        for group in self.param_groups:
            if group["training"]:
                self._lerp(group, 1 - 1 / group["beta"])
            group["training"] = False

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            if not group["training"]:
                raise RuntimeError("it is not in train mode")
            group["k"] += 1
            for p in group["params"]:
                z = self.state[p].setdefault("z", p.clone())
                x = p.lerp(z, 1 - 1 / group["beta"])
                z.sub_(p.grad, alpha=group["lr"])
                x.lerp_(z, 1 / group["k"])
                p.copy_(x.lerp(z, 1 - group["beta"]))
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    Path(tmp_path, "schedulefrees.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "schedulefrees", raising=False)

    def make(optimizer="schedulefrees:Free", dtype="float64"):
        found = tiny_preset.a_run(optimizer=optimizer)
        return replace(found, model=replace(found.model, dtype=dtype))

    return make


def ensemble_of(run, device, slots=2):
    found = Ensemble(run, slots, device)
    for slot in range(slots):
        found.load(slot, replace(run, replica=slot))
    return found


@seldom_pretended
def test_it_is_evaluated_where_a_plain_loop_evaluates_it(run, device):
    one = run()
    found = ensemble_of(one, device)
    starts = [{name: w.cpu() for name, w in found.weights(slot).items()} for slot in range(2)]
    for _ in range(4):
        evaluation = found.epoch()
    for slot, start in enumerate(starts):
        module, _ = reference.train(replace(one, replica=slot), start, 4)
        for name, weights in found.weights(slot).items():
            theirs = dict(module.named_parameters())[name].data
            torch.testing.assert_close(weights.cpu(), theirs, rtol=1e-9, atol=1e-12)
        _, _, train, validation = reference.evaluate(replace(one, replica=slot), module)
        np.testing.assert_allclose(evaluation.train_loss[slot], train, rtol=1e-9)
        np.testing.assert_allclose(evaluation.validation_loss[slot], validation, rtol=1e-9)
        norm = torch.cat([p.flatten() for p in module.parameters()]).norm().item()
        np.testing.assert_allclose(found.diagnose(slot, 4).weight_norm, norm, rtol=1e-9)


@seldom_pretended
@pytest.mark.parametrize("optimizer", ["schedulefrees:Free", "schedulefrees:Free(parameters='matrices')"])
def test_how_often_it_is_evaluated_changes_nothing(run, optimizer, device):
    one = run(optimizer, "float32")
    often, never = ensemble_of(one, device), ensemble_of(one, device)
    for _ in range(3):
        often.epoch()
        often.measure([1], "train", 4)
        often.diagnose(0, 1)
        never.train()
    for slot in range(2):
        for name, weights in never.weights(slot).items():
            assert torch.equal(weights, often.weights(slot)[name])
