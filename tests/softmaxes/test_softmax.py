"""The three maps to the simplex and their losses, against derivations by hand and other people's code."""

import math
from collections.abc import Callable

import entmax
import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import optimize
from torch import Tensor

from grokbench.softmaxes import (
    SOFTMAX,
    sparsemax,
    sparsemax_loss,
    stablemax,
    stablemax_loss,
)
from grokbench.softmaxes.sparsemax import _tau_by_shrinking, _tau_by_sorting
from grokbench.spec import SOFTMAXES

quick = settings(deadline=None, max_examples=25)
every = pytest.mark.parametrize("name", SOFTMAXES)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
scores = st.lists(st.floats(-50, 50), min_size=1, max_size=12)
BIG = 1e4


def double(z: list[float]) -> Tensor:
    return torch.tensor(z, dtype=torch.float64)


def random(*shape: int, seed: int = 0, spread: float = 2.0) -> Tensor:
    return spread * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def published_s(z: Tensor) -> Tensor:
    """s(z) as Prieto et al. 2025 print it."""
    return torch.tensor([x + 1 if x >= 0 else 1 / (1 - x) for x in z.flatten().tolist()], dtype=z.dtype).view(z.shape)


def gradient(name: str, z: Tensor, label: int) -> Tensor:
    """(C,) the slope of one row's loss at z (C,)."""
    leaf = z.clone().requires_grad_()
    SOFTMAX[name].loss(leaf[None], torch.tensor([label], device=z.device)).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def slope_by_hand(name: str, z: Tensor, label: int) -> Tensor:
    """Softmax and sparsemax: p − e_y. Stablemax: the same, times d log s / dz = 1 / (1 + |z|)."""
    p = SOFTMAX[name].probabilities(z).clone()
    p[label] -= 1
    return p / (1 + z.abs()) if name == "stablemax" else p


@every
@given(z=scores)
@example(z=[BIG, -BIG, 0.0])
@example(z=[3.0, 3.0, 3.0])
@quick
def test_probabilities_lie_on_the_simplex_and_keep_the_order(name: str, z: list[float]) -> None:
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        values = torch.tensor(z, dtype=dtype)
        p = SOFTMAX[name].probabilities(values)
        assert p.dtype == dtype
        assert (p >= 0).all()
        assert abs(p.sum().item() - 1) <= tolerance
        ordered = p[values.argsort()]
        assert (ordered.diff() >= -tolerance).all()


@every
@given(z=scores, seed=st.integers(0, 1000))
@quick
def test_permuted_scores_give_permuted_probabilities(name: str, z: list[float], seed: int) -> None:
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(seed))
    p = SOFTMAX[name].probabilities
    torch.testing.assert_close(p(double(z)[order]), p(double(z))[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["softmax", "sparsemax"])
@given(z=scores, shift=st.floats(-100, 100))
@quick
def test_shifts_change_neither_probabilities_nor_loss(name: str, z: list[float], shift: float) -> None:
    maps, values, labels = SOFTMAX[name], double(z)[None], torch.tensor([0])
    torch.testing.assert_close(maps.probabilities(values + shift), maps.probabilities(values), rtol=0, atol=1e-11)
    torch.testing.assert_close(maps.loss(values + shift, labels), maps.loss(values, labels), rtol=0, atol=1e-11)


def test_stablemax_feels_a_shift() -> None:
    assert stablemax(double([0, 1])).tolist() == pytest.approx([1 / 3, 2 / 3])  # s = 1, 2
    assert stablemax(double([1, 2])).tolist() == pytest.approx([2 / 5, 3 / 5])  # s = 2, 3
    assert stablemax(double([-1, 0])).tolist() == pytest.approx([1 / 3, 2 / 3])  # s = 1/2, 1


@every
def test_gradients_agree_with_finite_differences(name: str) -> None:
    maps, z, labels = SOFTMAX[name], random(6, 5).requires_grad_(), torch.tensor([0, 1, 2, 3, 4, 0])
    assert torch.autograd.gradcheck(maps.probabilities, z)
    assert torch.autograd.gradcheck(lambda x: maps.loss(x, labels), z)


CORNERS = {
    "zeros": [0.0, 0.0, 0.0, 0.0],
    "minus zeros": [-0.0, 0.0, -0.0, -0.0],
    "ones": [1.0, 1.0, 1.0, 1.0],
    "minus ones": [-1.0, -1.0, -1.0, -1.0],
    "zero and ones": [0.0, 1.0, -1.0, 0.0],
    "a tie at the top": [2.0, 2.0, 0.5, -3.0],
    "sparse tie": [0.75, 0.75, 0.25, 0.0],
    "one large": [BIG, 0.0, 1.0, -1.0],
    "one small": [-BIG, 0.0, 1.0, -1.0],
    "both": [BIG, -BIG, BIG, -BIG],
    "all large": [BIG, BIG, BIG, BIG],
    "all small": [-BIG, -BIG, -BIG, -BIG],
}


@dtypes
@every
@pytest.mark.parametrize("corner", CORNERS)
def test_the_slope_of_a_loss_is_the_derived_one_in_every_corner(
    name: str, corner: str, dtype: torch.dtype, device: torch.device
) -> None:
    z = torch.tensor(CORNERS[corner], dtype=dtype, device=device)
    for label in range(len(z)):
        loss = SOFTMAX[name].loss(z[None], torch.tensor([label], device=device))
        slope = gradient(name, z, label)
        assert loss.isfinite().all()
        assert (loss >= 0).all()
        assert slope.isfinite().all()
        wanted = slope_by_hand(name, z, label)
        if name == "sparsemax" and device.type == "cpu":
            assert torch.equal(slope, wanted)
        else:
            torch.testing.assert_close(slope, wanted, rtol=1e-6, atol=1e-7)


@dtypes
def test_the_slopes_of_stablemax_by_numbers(dtype: torch.dtype) -> None:
    """s(0, 1, −1) = (1, 2, ½), so p = (2, 4, 1)/7 and d log s/dz = (1, ½, ½)."""
    slope = gradient("stablemax", torch.tensor([0.0, 1.0, -1.0], dtype=dtype), 0)
    assert slope.tolist() == pytest.approx([-5 / 7, 2 / 7, 1 / 14], rel=1e-6)


@dtypes
@pytest.mark.parametrize("value", [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30, BIG, -BIG])
def test_the_slope_of_log_s(value: float, dtype: torch.dtype) -> None:
    """Against one fixed score 0, of which s = 1: log(p/(1 − p)) = log s(z)."""
    z = torch.tensor([value, 0.0], dtype=dtype, requires_grad=True)
    losses = stablemax_loss(z.expand(2, 2), torch.tensor([1, 0]))
    (slope,) = torch.autograd.grad(losses[0] - losses[1], z)
    assert slope[0].item() == pytest.approx(1 / (1 + abs(value)), rel=1e-6)


@dtypes
@pytest.mark.parametrize("corner", CORNERS)
def test_the_slopes_of_stablemax_probabilities_in_every_corner(corner: str, dtype: torch.dtype) -> None:
    """The Jacobian is (diag p − p pᵀ) diag(1 / (1 + |z|))."""
    z = torch.tensor(CORNERS[corner], dtype=dtype)
    p = stablemax(z)
    wanted = (p.diag() - p[:, None] * p) / (1 + z.abs())
    jacobian = torch.autograd.functional.jacobian(stablemax, z)
    torch.testing.assert_close(jacobian, wanted, rtol=1e-5, atol=1e-7)


@given(z=scores, label=st.integers(0, 11))
@quick
def test_stablemax_equals_its_definition(z: list[float], label: int) -> None:
    values, label = double(z), label % len(z)
    s = published_s(values)
    torch.testing.assert_close(stablemax(values), s / s.sum(), rtol=1e-12, atol=0)
    loss = stablemax_loss(values[None], torch.tensor([label]))
    assert loss.item() == pytest.approx(-math.log(s[label] / s.sum()), rel=1e-9, abs=1e-12)


@given(z=scores, label=st.integers(0, 11))
@quick
def test_softmax_equals_its_definition(z: list[float], label: int) -> None:
    values, label = double(z), label % len(z)
    exponentials = [math.exp(x) for x in z]
    p = [x / math.fsum(exponentials) for x in exponentials]
    assert SOFTMAX["softmax"].probabilities(values).tolist() == pytest.approx(p, rel=1e-12)
    loss = SOFTMAX["softmax"].loss(values[None], torch.tensor([label]))
    assert loss.item() == pytest.approx(-math.log(p[label]), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("spread", [0.01, 0.3, 1.0, 10.0, 1000.0])
def test_sparsemax_equals_entmax(spread: float, device: torch.device) -> None:
    z, labels = random(64, 9, seed=1, spread=spread), torch.arange(64) % 9
    torch.testing.assert_close(sparsemax(z.to(device)).cpu(), entmax.sparsemax(z), rtol=0, atol=1e-11)
    theirs = entmax.SparsemaxLoss(reduction="none")
    ours, other = z.to(device, copy=True).requires_grad_(), z.clone().requires_grad_()
    losses, wanted = sparsemax_loss(ours, labels.to(device)), theirs(other, labels)
    torch.testing.assert_close(losses.cpu(), wanted, rtol=1e-11, atol=1e-11)
    weights = random(64, seed=2)
    losses.backward(weights.to(device))
    wanted.backward(weights)
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad.cpu(), other.grad, rtol=0, atol=1e-11)


@dtypes
@pytest.mark.parametrize("spread", [1e-7, 0.1, 1.0])
def test_both_ways_to_the_threshold_agree_and_end_where_scores_lie_at_it(spread: float, dtype: torch.dtype) -> None:
    """Rounding could let a score at the threshold enter and leave the support for ever."""
    z = random(20_000, 31, spread=spread).to(dtype)
    z = z - z.amax(-1, keepdim=True)
    tau = _tau_by_sorting(z)
    z[:, 1:4] = tau + torch.finfo(dtype).eps * torch.tensor([-1.0, 0.0, 1.0])
    z[7, 7] = math.nan
    z = z - z.amax(-1, keepdim=True)
    by_shrinking = _tau_by_shrinking(z)
    chosen = torch.arange(len(z)) != 7
    torch.testing.assert_close(by_shrinking[chosen], _tau_by_sorting(z)[chosen])


def test_sparsemax_of_large_scores_loses_no_digits() -> None:
    for shift in (0, 1e6, -1e6):
        assert sparsemax(torch.tensor([0.3125, 0, -0.5, -3]) + shift).tolist() == [0.65625, 0.34375, 0, 0]


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("spread", [0.1, 0.5, 2.0])
def test_sparsemax_is_the_projection_that_quadratic_programming_finds(size: int, spread: float) -> None:
    for z in random(4, size, seed=size, spread=spread).numpy():
        found = optimize.minimize(
            lambda p, z=z: 0.5 * np.sum((p - z) ** 2),
            np.full(size, 1 / size),
            jac=lambda p, z=z: p - z,
            bounds=[(0, 1)] * size,
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1, "jac": lambda p: np.ones(size)},
            method="SLSQP",
            options={"ftol": 1e-14},
        )
        assert found.success
        assert sparsemax(torch.from_numpy(z)).tolist() == pytest.approx(found.x.tolist(), abs=1e-6)


@given(z=scores, label=st.integers(0, 11))
@quick
def test_the_sparsemax_loss_is_zero_exactly_at_the_label(z: list[float], label: int) -> None:
    values, label = double(z), label % len(z)
    loss = sparsemax_loss(values[None], torch.tensor([label])).item()
    p = sparsemax(values)
    assert loss >= -1e-12
    if p[label] == 1:
        assert loss == 0
    elif p[label] < 1 - 1e-5:
        assert loss > 0


@pytest.mark.parametrize(("gap", "loss"), [(1.0, 0.0), (1.5, 0.0), (0.0, 0.25), (-1.0, 1.0), (-3.0, 3.0)])
def test_the_sparsemax_loss_by_numbers(gap: float, loss: float) -> None:
    """Two scores, t apart: 0 from t = 1 up, (t − 1)²/4 between −1 and 1, −t below."""
    assert sparsemax_loss(double([[7 + gap, 7]]), torch.tensor([0])).tolist() == pytest.approx([loss], abs=1e-14)


@every
def test_leading_dimensions_are_rows(name: str, device: torch.device) -> None:
    maps, z = SOFTMAX[name], random(3, 4, 2, 6, seed=3).to(device)
    labels = (torch.arange(24).view(3, 4, 2) % 6).to(device)
    losses, p = maps.loss(z, labels), maps.probabilities(z)
    assert losses.shape == labels.shape
    assert p.shape == z.shape
    for i in np.ndindex(3, 4, 2):
        torch.testing.assert_close(losses[i], maps.loss(z[i][None], labels[i][None])[0], rtol=1e-14, atol=1e-14)
        torch.testing.assert_close(p[i], maps.probabilities(z[i]), rtol=1e-14, atol=1e-14)


@every
@pytest.mark.parametrize("size", [1, 2, 97])
def test_equal_scores_share_equally(name: str, size: int, device: torch.device) -> None:
    share: Callable[[Tensor], Tensor] = SOFTMAX[name].probabilities
    found = share(torch.full((size,), 0.3, device=device)).cpu()
    torch.testing.assert_close(found, torch.full((size,), 1 / size), rtol=1e-5, atol=0)


@every
@dtypes
def test_one_large_score_takes_all(name: str, dtype: torch.dtype, device: torch.device) -> None:
    z = torch.tensor([1e6, 0.0, -1.0], dtype=dtype, device=device)
    p = SOFTMAX[name].probabilities(z)
    assert p[0].item() == pytest.approx(1, abs=2e-6)
    assert SOFTMAX[name].loss(z[None], torch.tensor([0], device=device)).item() == pytest.approx(0, abs=2e-6)
    assert (p[1:] == 0).all() or name == "stablemax"


@every
def test_one_very_negative_score_gets_nothing(name: str) -> None:
    p = SOFTMAX[name].probabilities(double([-1e9, 0.0, 0.0]))
    assert p.tolist() == pytest.approx([0, 0.5, 0.5], abs=1e-8)
