"""The Triton kernels against the plain functions, a singular value decomposition, and float64.

Triton's interpreter must be chosen before triton is imported, and holds for the whole process: then everything on the
CPU would `fit`. So without TRITON_INTERPRET=1 these tests need a GPU, and one more runs this file in a process with it.

Tolerances. Newton–Schulz magnifies the rounding of small singular values up to 500 times, see `test_newton_schulz.py`;
TF32 products would be off by 1e-3. Losses and slopes are sums of numbers that are exact to 1e-7.
"""

from pathlib import Path

import pytest
import torch
from interpreted import INTERPRETED, hasten
from torch import Tensor

pytest.importorskip("triton", reason="triton is not installed")
if INTERPRETED:
    hasten()

from grokbench.numerics import rng
from grokbench.numerics.kernels import losses, newton_schulz, random
from grokbench.optim.newton_schulz import QUINTIC
from grokbench.optim.newton_schulz import orthogonalize as plain
from grokbench.softmaxes import SOFTMAX

KERNELS = {"softmax": losses.softmax_loss, "stablemax": losses.stablemax_loss, "sparsemax": losses.sparsemax_loss}
every = pytest.mark.parametrize("name", KERNELS)
SIDES = (1, 5, 16, 31, 64, 100, 128)
SHAPES = [*((n, n) for n in SIDES), *((n, 2 * n + 3) for n in SIDES[:-1]), (200, 100), (33, 20), (37, 1)]
# The interpreter takes milliseconds for what a GPU takes microseconds for; it is given those at the edges.
FEW = [(1, 1), (31, 65), (128, 128), (33, 20), (37, 1)]
INF, NAN = float("inf"), float("nan")


@pytest.fixture(params=["cpu"] if INTERPRETED else [pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
def test_the_kernels_in_the_interpreter(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of this file and of `test_fused.py`."""
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    files = __file__, Path(__file__).with_name("test_fused.py")
    tritons = "ignore:Conversion of an array with ndim > 0:DeprecationWarning"  # before 3.6, with numpy from 1.25 on
    result = pytester.runpytest_subprocess(*files, "-p", "no:cacheprovider", "-W", tritons, timeout=600)
    assert result.ret == 0
    assert result.parseoutcomes()["passed"] > 50  # and not skipped


@pytest.mark.skipif(INTERPRETED, reason="there, everything is taken")
def test_what_is_on_the_processor_does_not_fit() -> None:
    assert not newton_schulz.fits(torch.ones(3, 3))
    assert not losses.fits(torch.ones(3, 3))


def test_what_fits(device: str) -> None:
    def matrix(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=device)

    assert newton_schulz.fits(matrix(2, 128, 1000))
    assert newton_schulz.fits(matrix(1000, 128))
    assert not newton_schulz.fits(matrix(129, 129))
    assert not newton_schulz.fits(matrix(9))
    assert not newton_schulz.fits(matrix(3, 0))
    assert not newton_schulz.fits(matrix(3, 3, dtype=torch.float64))
    assert not newton_schulz.fits(matrix(3, 3, dtype=torch.bfloat16))
    assert not newton_schulz.fits(matrix(3, 3).requires_grad_())
    assert losses.fits(matrix(2, 3, 4096).requires_grad_())
    assert not losses.fits(matrix(2, 4097))
    assert not losses.fits(matrix(2, 9, dtype=torch.float64))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def fused(g: Tensor, device: str, steps: int = 5, coefficients: tuple[float, float, float] = QUINTIC) -> Tensor:
    result = newton_schulz.orthogonalize(g.to(device), steps, coefficients)
    assert result.shape == g.shape
    assert result.dtype == torch.float32
    return result.cpu()


def oracle(g: Tensor, steps: int = 5, coefficients: tuple[float, float, float] = QUINTIC) -> Tensor:
    """The polynomial of the singular values, in float64."""
    a, b, c = coefficients
    u, s, vh = torch.linalg.svd(g.double(), full_matrices=False)
    s = s / s.square().sum(-1, keepdim=True).sqrt()
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return (u * s[..., None, :]) @ vh


def close(actual: Tensor, wanted: Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(actual.double(), wanted.double(), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("rows", "columns"), FEW if INTERPRETED else SHAPES)
def test_orthogonalize_equals_the_polynomial_and_the_plain_form(rows: int, columns: int, device: str) -> None:
    g = normal(rows, columns)
    result = fused(g, device)
    close(result, oracle(g))
    close(result, plain(g))


@pytest.mark.parametrize("columns", [12, 40])  # with one and with RUN steps from one Gram matrix to the next
@pytest.mark.parametrize("steps", [0, 4] if INTERPRETED else [0, 1, 2, 3, 4, 7])
def test_any_number_of_steps(steps: int, columns: int, device: str) -> None:
    convergent = (15 / 8, -10 / 8, 3 / 8)
    g = normal(12, columns, seed=steps)
    close(fused(g, device, steps, convergent), oracle(g, steps, convergent), 1e-5)
    close(fused(g.T, device, steps), oracle(g.T, steps), 1e-3)  # the slope at zero is 3.4⁷ = 6000


@pytest.mark.parametrize("shape", [(10, 25)] if INTERPRETED else [(10, 10), (10, 25), (25, 10)])
def test_a_matrix_of_low_rank_does_not_diverge(shape: tuple[int, int], device: str) -> None:
    """With all steps from one Gram matrix it does, to 1e12 and NaN."""
    g = normal(shape[0], 2) @ normal(2, shape[1], seed=1)
    close(fused(g, device), oracle(g))
    result = fused(g, device, 6 if INTERPRETED else 12)
    assert result.isfinite().all()
    assert torch.linalg.matrix_norm(result, 2) < 1.3


@pytest.mark.parametrize("batch", [(), (1,), (2, 2), (2, 0)])
def test_a_batch_changes_no_bit_of_its_matrices(batch: tuple[int, ...], device: str) -> None:
    g = normal(*batch, 5, 9)
    result = fused(g, device, 2).reshape(-1, 5, 9)
    for matrix, one in zip(g.reshape(-1, 5, 9), result, strict=True):
        assert torch.equal(one, fused(matrix, device, 2))


@pytest.mark.parametrize("shape", [(1, 1), (20, 7)])
@pytest.mark.parametrize("steps", [0, 2])
def test_zero_gives_zero_and_neither_it_nor_nan_disturbs_neighbours(
    shape: tuple[int, int], steps: int, device: str
) -> None:
    g = normal(4, *shape)
    g[1] = 0
    g[2, 0, 0] = NAN
    result = fused(g, device, steps)
    assert torch.equal(result[1], g[1])
    assert result[2, 0, 0].isnan()
    assert torch.equal(result[::3], fused(g[::3], device, steps))
    assert result[::3].isfinite().all()


@pytest.mark.parametrize("scale", [1e-20] if INTERPRETED else [1e-20, 1e20])
def test_the_scale_of_a_matrix_does_not_matter(scale: float, device: str) -> None:
    g = normal(9, 16)
    result = fused(g, device, 2)
    close(fused(g * scale, device, 2), result)
    exponent = 66 if scale > 1 else -66
    assert torch.equal(fused(g * 2.0**exponent, device, 2), result)


def test_any_view_is_taken_and_left_untouched(device: str) -> None:
    whole = normal(2, 18, 22).to(device)
    views = [whole.mT, whole[:, 1::2, ::3], whole[:, :, 3].expand(2, 2, 18), whole.unflatten(1, (3, 6)).mT[:, 1]]
    before = whole.clone()
    for view in views:
        for steps in (0, 1):
            result = newton_schulz.orthogonalize(view, steps, QUINTIC)
            close(result.cpu(), oracle(view.cpu(), steps), 1e-6)
            result.zero_()
    assert torch.equal(whole, before)


def loss_and_slope(name: str, z: Tensor, labels: Tensor, weights: Tensor, device: str) -> tuple[Tensor, Tensor]:
    """The kernel's losses (...), and the gradient (..., C) of their weighted sum."""
    leaf = z.detach().to(device, copy=True).requires_grad_()
    loss = KERNELS[name](leaf, labels.to(device))
    assert loss.shape == labels.shape
    assert loss.dtype == torch.float32
    loss.backward(weights.to(device))
    assert leaf.grad is not None
    return loss.detach().cpu(), leaf.grad.cpu()


def compare(name: str, z: Tensor, labels: Tensor, device: str) -> None:
    """With autograd through the plain loss in float64."""
    weights = normal(*labels.shape, seed=9)
    loss, slope = loss_and_slope(name, z, labels, weights, device)
    leaf = z.double().requires_grad_()
    wanted = SOFTMAX[name].loss(leaf, labels)
    wanted.backward(weights.double())
    torch.testing.assert_close(loss.double(), wanted.detach(), rtol=2e-6, atol=2e-6)
    torch.testing.assert_close(slope.double(), leaf.grad, rtol=2e-6, atol=1e-6)


@every
@pytest.mark.parametrize("classes", [1, 2, 31, 97, 1024])
@pytest.mark.parametrize("spread", [0.3, 1e4] if INTERPRETED else [0.01, 0.3, 3.0, 1e4])
def test_losses_equal_the_plain_ones(name: str, classes: int, spread: float, device: str) -> None:
    labels = torch.arange(10).view(2, 5) % classes
    compare(name, spread * normal(2, 5, classes), labels, device)


@every
@pytest.mark.parametrize("step", [0.125, 0.5, 2.0])
def test_ties(name: str, step: float, device: str) -> None:
    compare(name, (2 * normal(40, 24)).round() * step, torch.arange(40) % 24, device)


@every
def test_corners(name: str, device: str) -> None:
    """Every label, on the support and off it."""
    big = 1e4
    rows = torch.tensor(
        [
            [0.0, 0.0, 0.0, 0.0],
            [-0.0, 0.0, -0.0, -0.0],
            [1.0, 1.0, 1.0, 1.0],
            [-1.0, -1.0, -1.0, -1.0],
            [0.0, 1.0, -1.0, 0.0],
            [2.0, 2.0, 0.5, -3.0],
            [0.75, 0.75, 0.25, 0.0],
            [big, 0.0, 1.0, -1.0],
            [-big, 0.0, 1.0, -1.0],
            [big, -big, big, -big],
            [-big, -big, -big, -big],
        ]
    )
    for label in range(4):
        compare(name, rows, torch.full((len(rows),), label), device)


def test_slopes_by_hand(device: str) -> None:
    """s(0, 1, −1) = (1, 2, ½), so p = (2, 4, 1)/7 and d log s/dz = (1, ½, ½)."""
    z, label, one = torch.tensor([[0.0, 1.0, -1.0]]), torch.tensor([0]), torch.ones(1)
    assert loss_and_slope("stablemax", z, label, one, device)[1].tolist() == [
        pytest.approx([-5 / 7, 2 / 7, 1 / 14], rel=1e-6)
    ]
    assert loss_and_slope("sparsemax", z, label, one, device)[1].tolist() == [[-1.0, 1.0, 0.0]]


def test_sparsemax_takes_as_many_rounds_as_it_needs(device: str) -> None:
    """At first the many small scores hold τ down; each round shuts out only a few."""
    z = torch.stack([-(torch.arange(300.0) ** power) / 300**power for power in (0.3, 1.0, 3.0, 9.0)])
    compare("sparsemax", z, torch.tensor([0, 1, 5, 299]), device)


def test_sparsemax_of_large_scores_loses_no_digits(device: str) -> None:
    z, label = torch.tensor([[0.3125, 0, -0.5, -3]]), torch.tensor([3])
    for shift in (0, 1e6, -1e6):
        slope = loss_and_slope("sparsemax", z + shift, label, torch.ones(1), device)[1]
        assert slope.tolist() == [[0.65625, 0.34375, 0, -1]]


@every
@pytest.mark.parametrize("classes", [3, 40])
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # of the interpreter, at ∞ − ∞
def test_nan_and_infinity_stay_in_their_rows(name: str, classes: int, device: str) -> None:
    z, labels, weights = 3 * normal(30, classes), torch.arange(30) % classes, normal(30)
    loss, slope = loss_and_slope(name, z, labels, weights, device)
    bad = torch.arange(30) % 4 == 1
    spoilt = z.clone()
    spoilt[bad, 1] = torch.tensor([NAN, INF]).repeat(4)
    losses_, slopes = loss_and_slope(name, spoilt, labels, weights, device)
    assert losses_[bad].isnan().all()
    assert slopes[bad].isnan().all()
    assert torch.equal(losses_[~bad], loss[~bad])
    assert torch.equal(slopes[~bad], slope[~bad])


@every
def test_views_and_no_rows_at_all(name: str, device: str) -> None:
    z, labels = normal(9, 2, 5, 4), torch.arange(45).view(9, 5) % 4
    compare(name, z[:, 1], labels, device)
    compare(name, normal(4, 9).T, labels.flatten()[::5], device)
    compare(name, z[:0, 1], labels[:0], device)
    compare(name, z[0, 0, 0], labels[0, 3], device)


@pytest.mark.parametrize("count", [6, 2050])
def test_random_bits_are_those_of_the_plain_form(count: int, device: str) -> None:
    """Keys and epochs of more than 32 bits and less than none, too, and a tile that is not full."""
    keys = torch.stack([rng.key_tensor(key) for key in (0, 1, 2**63 + 12345, 2**64 - 1)])
    at = torch.tensor([0, 7, 2**31 + 5, 2**32 - 1])
    there = keys.to(device), at.to(device)
    ours = random.words(there[0], rng.Stream.ORDER, there[1], count, 3)
    assert torch.equal(ours.cpu(), rng.words(keys, rng.Stream.ORDER, at, count, 3))
    for rate in (0.0, 0.2, 1.0):
        mask = random.keep_mask(there[0], rng.Stream.DROPOUT, there[1], 5, count, round(rate * 2**16))
        assert torch.equal(mask.cpu(), rng.keep_mask(keys, at, 5, count, rate))


def test_which_draws_fit(device: str) -> None:
    keys = torch.zeros(2, dtype=torch.int64, device=device)
    assert random.fits(keys, 1)
    assert not random.fits(keys, 0)
    assert not random.fits(keys[:0], 1)


@pytest.mark.skipif(not INTERPRETED, reason="here, kernels compute in the interpreter alone")
def test_the_engine_takes_the_path_of_a_gpu() -> None:
    """By kernels on a pretended GPU, against the plain forms on the processor: the same batches, masks and weights."""
    from ensembles import a_run, state
    from pretend_cuda import PretendedCuda

    from grokbench.engine.ensemble import Ensemble
    from grokbench.spec import ModelSpec

    model = ModelSpec(width=16, depth=1, heads=2, feed_forward=16, dropout=0.2)
    optimizer = "muon(lr=0.02, adamw_lr=0.003, ns_steps=2)"
    runs = [a_run(model, optimizer, "sparsemax", replica, p=5) for replica in range(2)]

    def trained(place: str) -> tuple[Tensor, Tensor]:
        ensemble = Ensemble(runs[0], 2, torch.device(place), graphs=False)
        for slot, run in enumerate(runs):
            ensemble.load(slot, run)
        losses = ensemble.train().cpu()
        return losses, torch.stack([state(ensemble, slot).cpu() for slot in range(2)])

    losses, weights = trained("cpu")
    with PretendedCuda(kernels=True) as gpu:
        found, there = trained("cuda")
    steps = int(gpu.calls["triton._kept"]) // 2  # a mask for each of the two branches
    assert steps >= 1
    assert gpu.calls["triton._words"] >= 1
    assert gpu.calls["triton._sparsemax"] == steps
    assert gpu.calls["triton._adamw"] == steps  # for what is no matrix
    assert gpu.calls["triton._kernel"] == steps  # all matrices are of one shape
    torch.testing.assert_close(found, losses, rtol=1e-5, atol=0)
    torch.testing.assert_close(there, weights, rtol=1e-3, atol=1e-4)
