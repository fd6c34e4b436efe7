"""What is recorded of a run's state, against plain linear algebra."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from ensembles import PLAIN, a_run, ensemble_of, seldom_pretended

from grokbench.engine import data
from grokbench.records.store import Store
from grokbench.spec import GrokCriterion
from grokbench.training.local import Executor


def hidden(weights):
    return {name: w.double().cpu().numpy() for name, w in weights.items() if w.ndim == 2 and "layers" in name}


@pytest.mark.parametrize("optimizer", ["adamw(lr=0.003)", "muon(lr=0.02)"])
def test_equal_plain_linear_algebra(optimizer, device):
    run = a_run(optimizer=optimizer, softmax="sparsemax")
    steps = run.task.train_rows // run.batch
    assert steps > 1
    ensemble = ensemble_of([a_run(optimizer=optimizer, softmax="sparsemax", replica=1), run], device)
    ensemble._graphs = False  # which would replay the second epoch, and call no function
    ensemble.train()
    order = []
    step = ensemble._step
    ensemble._step = lambda rows: (order.append(ensemble.weights(1)), step(rows))[1]
    ensemble.train()
    before, after = order[-1], ensemble.weights(1)
    found = ensemble.diagnose(1, epoch=2)
    values = [np.linalg.svd(w, compute_uv=False) for w in hidden(after).values()]
    shares = [v / v.sum() for v in values]
    assert found.spectral_norm == pytest.approx(max(v[0] for v in values), rel=1e-9)
    assert found.effective_rank == pytest.approx(np.mean([math.exp(-(p * np.log(p)).sum()) for p in shares]), rel=1e-9)
    assert found.weight_norm == pytest.approx(math.sqrt(sum(float(w.double().square().sum()) for w in after.values())))
    changes = {name: (after[name] - before[name]).double().flatten() for name in after}
    for names, rms in (
        ([n for n in after if n in hidden(after)], found.update_hidden),
        ([n for n in after if n not in hidden(after)], found.update_rest),
    ):
        assert rms == pytest.approx(float(torch.cat([changes[n] for n in names]).square().mean().sqrt()), rel=1e-9)
        assert rms > 0
    assert found.epoch == 2


def test_the_share_of_rows_without_a_gradient(device):
    run = a_run(softmax="softmax")
    ensemble = ensemble_of([run], device)
    assert ensemble.diagnose(0, 0).collapsed == 0
    # A head that sees one unit, which is the same for every question, answers 3 with certainty.
    views = ensemble._weights.views
    views["norm.weight"][0] = 0
    views["norm.weight"][0, 0] = 1
    views["embedding.weight"][0, :, 0] = 1e4
    views["head.weight"][0] = 0
    views["head.weight"][0, 3, 0] = 1e3
    labels = data.generate(run.task).labels[ensemble._train[0].cpu()]
    share = float((labels == 3).double().mean())
    assert 0 < share < 1
    assert ensemble.diagnose(0, 0).collapsed == pytest.approx(share)


def test_what_is_not_finite_is_said_to_be(device):
    ensemble = ensemble_of([a_run()], device)
    ensemble._weights.flat[0, 5] = float("inf")
    found = ensemble.diagnose(0, 1)
    assert math.isnan(found.spectral_norm)
    assert math.isnan(found.effective_rank)


@seldom_pretended
def test_they_are_taken_at_the_crossing_and_at_the_end(tmp_path, device):
    rule = GrokCriterion(budget=30, threshold=0.01, train_threshold=0.2, settle=1, hold=0, after=4)
    crosses = dataclasses.replace(a_run(optimizer="adamw(lr=0.01)"), criterion=rule)
    never = dataclasses.replace(crosses, optimizer=a_run(optimizer="sgd(lr=0.0)").optimizer, criterion=rule)
    store = Store(tmp_path / "store.sqlite")
    records = Executor(store, device.type).records([crosses, never])
    record = records[crosses.digest]
    assert record.time.first is not None
    assert [d.epoch for d in record.diagnostics] == [record.time.first, record.time.first + 4]
    assert record.time.epochs == record.time.first + 4
    (end,) = records[never.digest].diagnostics
    assert (end.epoch, end.update_hidden, end.update_rest) == (30, 0.0, 0.0)
    store.close()


@seldom_pretended
def test_they_do_not_depend_on_the_company(device):
    run, other = a_run(replica=1), a_run(replica=2)
    alone = ensemble_of([run], device, 3 if device.type == "cuda" else 1)
    company = ensemble_of([other, run, other], device)
    for ensemble in (alone, company):
        ensemble.train()
    assert alone.diagnose(0, 1) == company.diagnose(1, 1)
    assert PLAIN.depth == 1
