"""What cannot work is found before anything is trained, and a worker that dies is noticed."""

from __future__ import annotations

import pytest
import torch
from ensembles import seldom_pretended
from tiny import a_run

from grokbench.engine import sizing
from grokbench.numerics.frame import state
from grokbench.optim.trial import plugged
from grokbench.records.store import Store
from grokbench.spec import UsageError
from grokbench.training.trainer import Trainer


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("torch.optim:Adam(foo=1)", "could not be made: TypeError: .*foo"),
        ("json:JSONDecoder", "JSONDecoder could not be made: TypeError"),
        ("torch.optim:SparseAdam", "SparseAdam failed at step 1: RuntimeError: SparseAdam does not support dense"),
        ("torch.optim:LBFGS", "LBFGS .*Error: .*step.* missing 1 required positional argument: 'closure'"),
        ("plugins:Exits", "Exits failed at step 1: SystemExit"),
    ],
)
def test_a_plugin_that_cannot_work_is_refused_before_the_baseline_is_trained(text, message, tmp_path, device):
    with Store(tmp_path / "store.sqlite") as store:
        trainer = Trainer(store, device.type, 1)
        runs = [a_run(0), a_run(0, text)]
        before = state()
        with pytest.raises(UsageError, match=message):
            trainer.train(runs[:1], runs[1:])
        assert state() == before
        assert not store.known(run.digest for run in runs)


@seldom_pretended
def test_the_trial_changes_no_numbers(tmp_path, device, monkeypatch):
    monkeypatch.setitem(sizing.MOST, "cuda", 2)
    run = a_run(0, "plugins:Noisy(lr=0.01)", budget=3)
    records = []
    for name in ("one", "two"):
        with Store(tmp_path / name) as store:
            torch.manual_seed(0)
            trainer = Trainer(store, device.type, 1)
            if name == "two":
                trainer._tried = set(plugged([run]))  # no trial
            drawn = torch.get_rng_state()
            records.append(trainer.train([run])[run.digest])
            assert torch.equal(torch.get_rng_state(), drawn)
    assert records[0].trace == records[1].trace


def test_plugins_are_told_from_built_in_optimizers_and_tried_once_each():
    noisy, base = (a_run(1, f"plugins:{name}") for name in ("Noisy", "Base"))
    assert plugged([a_run(0), noisy, base, a_run(2, "plugins:Base")]) == {noisy.optimizer: noisy, base.optimizer: base}
