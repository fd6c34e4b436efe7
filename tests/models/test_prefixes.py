"""Shared states are those of the rows that share them, and there are as few as the rules say."""

from __future__ import annotations

import pytest
import torch

from grokbench.engine.data import generate
from grokbench.models.prefixes import Plan
from grokbench.models.transformer import Stack, forward, layout, operands, row_size
from grokbench.spec import ModelSpec, task

CPU = torch.device("cpu")
MODELS = {
    "one layer": ModelSpec(width=16, depth=1, heads=2, feed_forward=16, dtype="float64"),
    "three gated layers": ModelSpec(width=16, depth=3, heads=1, feed_forward=32, gated=True, dtype="float64"),
}
TASKS = {
    "add": task("add", 11),
    "div": task("div", 7),
    "parity of halves": task("parity", bits=6),
    "parity bit by bit": task("parity", bits=5, bits_per_token=1),
}


@pytest.mark.parametrize("rows", [32, 64, 160])
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_shared_states_change_nothing(model, name, rows, device):
    """Against a plan in which every state above the first layer belongs to one row."""
    t, replicas = TASKS[name], 2
    data = generate(t)
    pieces = operands(layout(model, t.vocabulary, t.classes))
    generator = torch.Generator().manual_seed(rows)
    flat = 0.3 * torch.randn(replicas, row_size(pieces), generator=generator, dtype=torch.float64)
    questions = torch.randint(0, t.rows, (replicas, rows), generator=generator).to(device)
    slope = torch.randn(replicas, rows, t.classes, generator=generator, dtype=torch.float64).to(device)
    results = []
    for dropout in (False, True):  # no mask is applied, so only the plan differs
        plan = Plan(model, data.tokens, rows, device, dropout=dropout)
        leaves = {key: view.requires_grad_() for key, view in Stack(pieces, flat.to(device, copy=True)).views.items()}
        (lookups,) = plan.lookups(questions, replicas, t.vocabulary)
        scores = forward(model, leaves, lookups)
        gradients = torch.autograd.grad(scores, list(leaves.values()), slope)
        results.append((scores, torch.cat([g.flatten() for g in gradients])))
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-10, atol=1e-11)


def states(model: ModelSpec, t, rows: int, *, dropout: bool = False) -> list[int]:
    return [level.states for level in Plan(model, generate(t).tokens, rows, CPU, dropout=dropout).levels]


def test_each_distinct_beginning_is_computed_once():
    one, three = MODELS.values()
    add = task("add", 97)
    first = 208  # 97 + 1 + 97 + 1 pairs of position and token, filled up to whole cache lines
    assert states(one, add, 512) == [first, 512]
    # 97 first tokens, 97 pairs with the operator, then every row for itself at the last two positions
    assert states(three, add, 512) == [first, 208 + 2 * 512, 208 + 2 * 512, 512]
    assert states(three, add, 512, dropout=True) == [first, 4 * 512, 4 * 512, 512]
    # more tokens than rows: a table would be larger than the batch
    assert states(three, add, 64)[0] == 16 + 2 * 64
    assert states(three, add, 64)[1] == 4 * 64


def test_products_of_a_large_vocabulary_are_not_tabulated():
    model = MODELS["three gated layers"]
    small, large = (Plan(model, generate(task("add", p)).tokens, 512, CPU, dropout=False) for p in (31, 211))
    questions = torch.zeros(1, 512, dtype=torch.int64)

    def tabulated(plan: Plan) -> list[bool]:
        return [route.pairs is not None for route in plan.lookups(questions, 1, 300)[0].routes]

    assert tabulated(small) == [True, False, False]
    assert tabulated(large) == [False, False, False]


def test_lookups_of_many_steps_are_those_of_each():
    model, t = MODELS["three gated layers"], TASKS["add"]
    plan = Plan(model, generate(t).tokens, 64, CPU, dropout=False)
    questions = torch.randint(0, t.rows, (3, 2, 64), generator=torch.Generator().manual_seed(0))  # 3 steps
    for one, step in zip(plan.lookups(questions.flatten(0, 1), 2, t.vocabulary), questions, strict=True):
        (alone,) = plan.lookups(step, 2, t.vocabulary)
        assert torch.equal(one.embedded, alone.embedded)
        for route, other in zip(one.routes, alone.routes, strict=True):
            assert torch.equal(route.keys, other.keys)
            assert torch.equal(route.own, other.own)
            if route.pairs is None or other.pairs is None:
                assert route.pairs is other.pairs
            else:
                assert torch.equal(route.pairs, other.pairs)
