"""The blocks against torch's own functions, and their backward passes against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from pretended import Pretended
from torch import Tensor
from torch.autograd import gradcheck

from grokbench.models import blocks

E, N, M, T, H, D, FF = 2, 3, 5, 4, 2, 6, 7

Random = Callable[..., Tensor]


def slopes_agree(function: Callable[..., Tensor], *inputs: Tensor) -> bool:
    """Those that are missing are made where C++ sees a tensor, so not on the pretended GPU."""
    return gradcheck(function, inputs, check_undefined_grad=not isinstance(inputs[0], Pretended))


@pytest.fixture
def random(device: torch.device) -> Random:
    def drawn(*shape: int, seed: int = 0) -> Tensor:
        values = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        return values.to(device).requires_grad_()

    return drawn


@pytest.fixture
def keys(device: torch.device) -> Tensor:
    drawn = torch.randint(0, M, (T, E, N), generator=torch.Generator().manual_seed(1))
    return (drawn + torch.arange(E)[:, None] * M).to(device)


def test_gather_looks_rows_up_and_adds_their_slopes(random, device):
    x, index = random(E, M, D), torch.tensor([[0, 3, 3], [5, 9, 0]], device=device)
    assert torch.equal(blocks.gather(x, index), x.flatten(0, 1)[index])
    assert slopes_agree(lambda x: blocks.gather(x, index), x)


def test_scatter_adds_rows_in_their_order(device):
    rows = torch.tensor([[1e8], [1.0], [-1e8], [3.0]], dtype=torch.float32, device=device)
    sums = blocks.scatter(rows, torch.tensor([1, 1, 1, 0], device=device), 3)
    assert sums.tolist() == [[3.0], [0.0], [0.0]]  # 1e8 + 1 is 1e8 in float32


def test_rms_norm(random):
    x, gain = random(E, N, D), random(E, D, seed=1)
    expected = F.rms_norm(x, (D,), eps=blocks.NORM_EPSILON) * gain[:, None]
    torch.testing.assert_close(blocks.rms_norm(x, gain), expected)
    assert slopes_agree(blocks.rms_norm, x, gain)


def test_row_scores(random, keys):
    q, k = random(E, N, D), random(E, M, D, seed=1)
    chosen = k.flatten(0, 1)[keys].unflatten(-1, (H, -1))
    expected = torch.einsum("enhk,tenhk->tenh", q.unflatten(-1, (H, -1)), chosen)
    torch.testing.assert_close(blocks.row_scores(q, k, keys, H), expected)
    assert slopes_agree(lambda q, k: blocks.row_scores(q, k, keys, H), q, k)


@pytest.mark.parametrize("hidden", [False, True])
def test_attend(hidden, random, keys, device):
    scores, v = random(T, E, N, H), random(E, M, D, seed=1)

    def masked(scores: Tensor) -> Tensor:
        later = torch.tensor([False, False, True, True], device=device)[:, None, None, None]
        return scores.masked_fill(later, -torch.inf) if hidden else scores

    chosen = v.flatten(0, 1)[keys].unflatten(-1, (H, -1))
    expected = torch.einsum("tenh,tenhk->enhk", masked(scores).softmax(0), chosen).flatten(2)
    torch.testing.assert_close(blocks.attend(masked(scores), v, keys), expected)
    assert slopes_agree(lambda s, v: blocks.attend(masked(s), v, keys), scores, v)


@pytest.mark.parametrize("gated", [False, True])
def test_feed_forward(gated, random):
    x, up, down = random(E, N, D), random(E, FF, D, seed=1), random(E, D, FF, seed=2)
    gate = random(E, FF, D, seed=3) if gated else None
    raised = x @ up.mT
    inner = F.silu(x @ gate.mT) * raised if gate is not None else F.silu(raised)
    expected, out = inner @ down.mT, blocks.feed_forward(x, up, down, gate)
    torch.testing.assert_close(out, expected)
    leaves = [leaf for leaf in (x, up, down, gate) if leaf is not None]
    slope = random(E, N, D, seed=4)
    torch.testing.assert_close(torch.autograd.grad(out, leaves, slope), torch.autograd.grad(expected, leaves, slope))


@pytest.mark.parametrize("value", [-1e4, -90.0, -1.0, 0.0, 1.0, 90.0, 1e4])
def test_silu_and_its_slope_are_finite_and_exact_far_from_zero(value, device):
    """In float32, with matrices of one element, down(silu(up x)) is silu itself."""
    one = torch.ones(1, 1, 1, device=device)
    ours, theirs = (torch.tensor([[[value]]], device=device).requires_grad_() for _ in range(2))
    out, expected = blocks.feed_forward(ours, one, one), F.silu(theirs)
    out.backward()
    expected.backward()
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=1e-30)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-30)


def test_a_second_backward_pass_is_refused(random):
    """It works in the buffers of the first."""
    x, up, down = random(E, N, D), random(E, FF, D, seed=1), random(E, D, FF, seed=2)
    out = blocks.feed_forward(x, up, down).sum()
    out.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.backward()
