"""The ensemble is exact, and what a slot computes depends on that slot's run alone."""

from __future__ import annotations

import dataclasses

import pytest
import reference
import torch
from ensembles import GATED, MIXED, OPTIMIZERS, PLUG_IN, TINY, a_run, ensemble_of, seldom_pretended, state

from grokbench.engine.ensemble import shape
from grokbench.spec import SOFTMAXES, GrokCriterion, ModelSpec, RunSpec, task
from grokbench.spec.registry import parse


def mixed(chosen, quick=()):
    """These on every device; on the pretended GPU, those that are not quick are slow."""
    named = []
    for each in chosen:
        name = f"{'gated' if each[0].gated else 'plain'}-{each[1]}-{each[2]}"
        named += [
            pytest.param(*each, place, id=f"{place}-{name}", marks=marks)
            for place, marks in (
                ("cpu", ()),
                ("pretended", () if each in quick else pytest.mark.slow),
                ("cuda", pytest.mark.gpu),
            )
        ]
    return pytest.mark.parametrize(("model", "optimizer", "softmax", "device"), named, indirect=["device"])


def on_processor(weights):
    return {name: weight.cpu() for name, weight in weights.items()}


@mixed([each for each in MIXED if each[1] != PLUG_IN], quick=[MIXED[2]])
def test_agrees_with_a_plain_module_in_float64(model, optimizer, softmax, device):
    model = dataclasses.replace(model, dtype="float64")
    runs = [a_run(model, optimizer, softmax, replica) for replica in range(2)]
    ensemble = ensemble_of(runs, device)
    starts = [on_processor(ensemble.weights(slot)) for slot in range(2)]
    epochs = 4  # of six steps
    means = torch.stack([ensemble.train() for _ in range(epochs)])
    for slot, run in enumerate(runs):
        module, losses = reference.train(run, starts[slot], epochs)
        torch.testing.assert_close(means[:, slot].tolist(), losses, rtol=1e-9, atol=0)
        trained = on_processor(ensemble.weights(slot))
        for name, weight in module.state_dict().items():
            assert (trained[name] - weight).norm() <= 1e-9 * weight.norm(), name
        evaluation = ensemble.evaluate(means[-1])
        expected = reference.evaluate(run, module)
        torch.testing.assert_close([float(f[slot]) for f in evaluation[:4]], list(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["div", "parity"])
@seldom_pretended
def test_agrees_where_a_batch_is_ragged_and_where_it_is_the_whole_training_set(name, device):
    model = dataclasses.replace(GATED, dtype="float64", dropout=0.0)
    for batch in (33, 10_000):
        spec = task(name, 7, bits=6, bits_per_token=1)
        run = RunSpec(spec, "softmax", model, parse(OPTIMIZERS[0]), GrokCriterion(50), batch, 0)
        ensemble = ensemble_of([run], device)
        _, losses = reference.train(run, on_processor(ensemble.weights(0)), 3)
        assert [float(ensemble.train()) for _ in range(3)] == pytest.approx(losses, rel=1e-9)


@mixed(MIXED)
def test_bits_are_the_same_alone_in_company_and_in_any_slot(model, optimizer, softmax, device):
    runs = [a_run(model, optimizer, softmax, replica, "div", 13, 50) for replica in range(8)]

    def train(replicas):
        ensemble = ensemble_of([runs[r] for r in replicas], device, 8 if device.type == "cuda" else None)
        evaluations = [ensemble.epoch() for _ in range(2)]
        return {
            r: (state(ensemble, slot), [[float(f[slot]) for f in e] for e in evaluations])
            for slot, r in enumerate(replicas)
        }

    together = train(range(8))
    for replicas in ([3], [7, 0], [5, 3, 6, 1, 0]):
        for replica, (weights, evaluations) in train(replicas).items():
            assert torch.equal(weights, together[replica][0])
            assert evaluations == together[replica][1]


@pytest.mark.parametrize("optimizer", OPTIMIZERS[:2])
def test_bits_are_the_same_however_many_threads_torch_has(optimizer):
    """Large enough for torch to divide, also what one replica alone computes, in shares that end anywhere."""
    model = ModelSpec(width=128, depth=1, heads=4, feed_forward=512)
    runs = [a_run(model, optimizer, "stablemax", replica, p=31, batch=256) for replica in range(7)]
    before = torch.get_num_threads()
    try:
        made = []
        for threads, chosen in ((1, runs), (2, runs[6:]), (3, runs[3:6])):
            torch.set_num_threads(threads)
            ensemble = ensemble_of(chosen)
            ensemble.train()
            assert torch.get_num_threads() == threads
            made.append(ensemble)
    finally:
        torch.set_num_threads(before)
    together, alone, few = made
    assert torch.equal(state(together, 6), state(alone, 0))
    assert all(torch.equal(state(together, slot), state(few, slot - 3)) for slot in (3, 4, 5))


@pytest.mark.parametrize("optimizer", [OPTIMIZERS[1], PLUG_IN])
@seldom_pretended
def test_bits_are_the_same_after_a_refill_and_after_slots_were_dropped(optimizer, device):
    """On a GPU slots are never dropped, only refilled."""
    runs = [a_run(GATED, optimizer, replica=replica) for replica in range(5)]
    on_gpu = device.type == "cuda"
    alone = ensemble_of([runs[4]], device, 4 if on_gpu else None)
    ensemble = ensemble_of(runs[:4], device)
    ensemble.epoch()
    ensemble.load(2, runs[4])
    ensemble.epoch()
    if not on_gpu:
        ensemble.select([3, 2])
    ensemble.epoch()
    for _ in range(2):
        last = alone.epoch()
    assert torch.equal(state(alone, 0), state(ensemble, 2 if on_gpu else 1))
    assert last.finite[0]


@mixed([each for each in MIXED if each[0] is GATED])
def test_a_slot_that_diverges_harms_no_other(model, optimizer, softmax, device):
    runs = [a_run(model, optimizer, softmax, replica) for replica in range(3)]
    healthy, sick = ensemble_of(runs, device), ensemble_of(runs, device)
    sick._weights.flat[1] = torch.nan
    for _ in range(2):
        expected, evaluation = healthy.epoch(), sick.epoch()
    assert evaluation.finite.tolist() == [True, False, True]
    for slot in (0, 2):
        assert torch.equal(state(healthy, slot), state(sick, slot))
        assert [f[slot] for f in expected] == [f[slot] for f in evaluation]


@seldom_pretended
def test_arms_share_split_initial_weights_and_batches(device):
    runs = [a_run(optimizer=text, softmax=softmax) for text in OPTIMIZERS for softmax in SOFTMAXES]
    ensembles = [ensemble_of([run], device) for run in runs]
    first = ensembles[0]
    for ensemble in ensembles[1:]:
        assert torch.equal(state(first, 0), state(ensemble, 0))
        assert torch.equal(first._train, ensemble._train)
    seen = []
    for ensemble in ensembles:
        rows = []
        ensemble._graphs = False  # which would replay the second epoch and step by no function
        ensemble._step = lambda batch, rows=rows: rows.append(batch.questions[:, :16]) or torch.zeros(1, device=device)  # type: ignore[method-assign]
        ensemble.train()
        ensemble.train()
        seen.append(torch.cat(rows))
    assert all(torch.equal(seen[0], rows) for rows in seen[1:])
    assert not torch.equal(seen[0][: len(seen[0]) // 2], seen[0][len(seen[0]) // 2 :])  # epochs differ in order


def test_replicas_differ(device):
    ensemble = ensemble_of([a_run(replica=0), a_run(replica=1)], device)
    assert not torch.equal(state(ensemble, 0), state(ensemble, 1))
    assert not torch.equal(ensemble._train[0].sort().values, ensemble._train[1].sort().values)


def test_an_epoch_is_every_full_batch_in_a_new_order(device):
    ensemble = ensemble_of([a_run(batch=16)], device)
    rows = []
    ensemble._step = lambda batch: rows.append(batch.questions[0]) or torch.zeros(1, device=device)  # type: ignore[method-assign]
    ensemble.train()
    assert all(torch.equal(r[16:], r[:1].expand(len(r) - 16)) for r in rows)  # filled up
    rows = [r[:16] for r in rows]
    assert len(rows) == 97 // 16
    assert len(torch.cat(rows).unique()) == 96


def test_the_softmax_of_the_spec_is_the_one_in_the_loss(device):
    losses = {s: float(ensemble_of([a_run(TINY, softmax=s, p=5)], device).train()) for s in SOFTMAXES}
    assert len(set(losses.values())) == 3


def test_runs_share_an_ensemble_where_only_rates_and_labels_differ():
    base = a_run()
    assert shape(base) == shape(a_run(optimizer="adamw(lr=0.1, weight_decay=0.3)", replica=9, name="sub"))
    others = (
        a_run(model=GATED),
        a_run(softmax="sparsemax"),
        a_run(batch=17),
        a_run(name="mul"),
        a_run(p=13),
        a_run(optimizer="sgd"),
        a_run(optimizer="adamw(lr=0.003, warmup=5)"),
        a_run(optimizer="adamw(eps=1e-6)"),
    )
    assert all(shape(base) != shape(other) for other in others)


def test_plug_ins_of_two_names_share_an_ensemble_and_keep_their_bits(device):
    runs = [a_run(TINY, f"torch.optim:{name}(lr=0.01)", p=7) for name in ("Adam", "RMSprop")]
    assert shape(runs[0]) == shape(runs[1]) != shape(a_run(TINY, "torch.optim:Adam(lr=0.01, warmup=3)", p=7))
    slots = 2 if device.type == "cuda" else 1
    together, alone = ensemble_of(runs, device), [ensemble_of([run], device, slots) for run in runs]
    for ensemble in (together, *alone):
        ensemble.train()
    for slot, lone in enumerate(alone):
        assert torch.equal(state(together, slot), state(lone, 0))
    assert not torch.equal(state(together, 0), state(together, 1))
