"""The kernels of a whole step against the plain forms, in float64, whose rounding they may exceed but little.

Run with TRITON_INTERPRET=1, or on a GPU, as `test_kernels.py` tells.
"""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path

import pytest
import torch
from ensembles import GATED, PLAIN
from interpreted import INTERPRETED, hasten
from torch import Tensor

pytest.importorskip("triton", reason="triton is not installed")
if INTERPRETED:
    hasten()

from grokbench.models import fused, transformer
from grokbench.models.blocks import scatter
from grokbench.models.prefixes import Plan
from grokbench.numerics.kernels import elementwise, norms, sums
from grokbench.optim import adamw


@pytest.fixture(params=["cpu"] if INTERPRETED else [pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def as_good(found: Tensor, plain: Tensor, exact: Tensor) -> None:
    """Errors against float64 at most five times those of the plain form on average, and fifteen times at most."""
    ours, theirs = (found.cpu().double() - exact).abs(), (plain.double() - exact).abs()
    unit = 2.0**-24 * float(exact.abs().max())
    assert float(ours.mean()) <= 5 * float(theirs.mean()) + unit / 8
    assert float(ours.max()) <= 15 * float(theirs.max()) + unit


# Queries that rows look up; queries of their own, a mask and a gate, and heads whose halves are no power of two.
MODELS = [
    (dataclasses.replace(PLAIN, width=16, feed_forward=16, heads=2), 3, 7, 256),
    (dataclasses.replace(GATED, width=48, feed_forward=16, dropout=0.0), 3, 5, 4),
]


@pytest.mark.parametrize(("model", "p", "rows", "most"), MODELS)
def test_a_model_has_the_scores_and_slopes_of_the_plain_form(model, p, rows, most, device, monkeypatch):
    monkeypatch.setattr(sums, "MOST", most)  # states, for more of which torch's own sums are taken
    tokens = torch.tensor([[a, p, b, p + 1] for a in range(p) for b in range(p)])
    vocabulary, replicas = p + 2, 2
    pieces = transformer.operands(transformer.layout(model, vocabulary, p))
    flat = 0.3 * normal(replicas, sum(s.room for s in pieces))
    chosen = torch.randint(len(tokens), (replicas, rows), generator=torch.Generator().manual_seed(1))
    weighting = normal(replicas, rows, p, seed=2)

    def slopes(place: torch.device, dtype: torch.dtype, forward) -> list[Tensor]:
        own = dataclasses.replace(model, dtype=str(dtype).removeprefix("torch."))
        plan = Plan(own, tokens, rows, place, dropout=False)
        (lookups,) = plan.lookups(chosen.to(place), replicas, vocabulary)
        views = transformer.Stack(pieces, flat.to(place, dtype)).views
        leaves = {name: view.requires_grad_() for name, view in views.items()}
        masks = [normal(1, 1, model.width, seed=i).to(place, dtype) for i in range(2 * model.depth)]
        scores = forward(own, leaves, lookups, lambda y, branch: y * masks[branch])
        return [scores, *torch.autograd.grad(scores, list(leaves.values()), weighting.to(place, dtype))]

    cpu = torch.device("cpu")
    exact = slopes(cpu, torch.float64, transformer.forward)
    plain = slopes(cpu, torch.float32, transformer.forward)
    found = slopes(device, torch.float32, fused.forward)
    for one, other, right in zip(found, plain, exact, strict=True):
        as_good(one.detach(), other.detach(), right.detach())


SIZES = [(1, 1, 1), (2, 5, 16), (3, 33, 100)]


@pytest.mark.parametrize(("replicas", "rows", "width"), SIZES)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e15])
def test_norms(replicas, rows, width, scale, device):
    x, branch = scale * normal(replicas, 4, width), scale * normal(replicas, rows, width, seed=1)
    gain = normal(1, width, seed=2).expand(replicas, -1)
    index = torch.arange(rows).expand(replicas, rows) % 4 + 4 * torch.arange(replicas)[:, None]
    given = (t.to(device) for t in (x, index, branch, gain))
    total, out, rates = (t.cpu() for t in norms.forward(next(given), next(given), next(given), next(given), 1e-6))
    summed = x.flatten(0, 1)[index] + branch
    assert torch.equal(total, summed)
    exact = summed.double() * (summed.double().square().mean(-1, keepdim=True) + 1e-6).rsqrt() * gain[0]
    torch.testing.assert_close(out.double(), exact, rtol=2e-6, atol=0)
    assert rates.shape == (replicas, rows)


@pytest.mark.parametrize(("outer", "rows", "states", "width"), [(1, 1, 1, 1), (2, 33, 17, 40), (3, 70, 100, 16)])
def test_sums_are_those_of_index_add_and_stay_in_their_replica(outer, rows, states, width, device):
    values = normal(outer, 2, rows, width)
    local = torch.randint(states, (outer, 2, rows), generator=torch.Generator().manual_seed(1))
    index = local + states * torch.arange(2)[:, None]
    found = sums.sums(values.to(device), index.to(device), states).cpu()
    right = scatter(values.view(-1, width).double(), index.flatten(), 2 * states).view(2, states, width)
    torch.testing.assert_close(found.double(), right, rtol=0, atol=1e-5)
    part = sums.sums(values.to(device), index.to(device), states, states // 2, states - states // 2).cpu()
    torch.testing.assert_close(part, found[:, states // 2 :], rtol=0, atol=1e-5)
    values[0, 0, 0, 0] = torch.nan
    spoilt = sums.sums(values.to(device), index.to(device), states).cpu()
    assert spoilt[0].isnan().any()
    assert torch.equal(spoilt[1], found[1])


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")  # of the interpreter, where exp is infinite
def test_silu_and_its_slope(gated, device):
    z = torch.cat([normal(1100) * 4, torch.tensor([0.0, -0.0, 1e-40, 80.0, -80.0, 1e4, -1e4])])
    raised, grad = normal(len(z), seed=1) if gated else None, normal(len(z), seed=2)
    leaves = [t.double().requires_grad_() for t in (z, raised) if t is not None]
    right = torch.nn.functional.silu(leaves[0]) * (leaves[1] if gated else 1)
    slopes = torch.autograd.grad(right, leaves, grad.double())
    given = z.to(device), None if raised is None else raised.to(device)
    found = [elementwise.silu(*given), *elementwise.silu_back(grad.to(device), *given)]
    for one, other in zip(found, (right, *slopes), strict=False):
        torch.testing.assert_close(one.cpu().double(), other.detach(), rtol=2e-6, atol=1e-6)
    assert (found[2] is None) == (not gated)


@pytest.mark.parametrize("betas", [(0.9, 0.98), (0.0, 0.999), (0.9, 0.0)])
def test_adamw_is_the_plain_one(betas, device):
    """Of a part of each row, with a rate of zero, a gradient of zero and denormal ones."""
    shape = (3, 1500)
    hyper = {"betas": betas, "eps": 1e-8}
    lr, decay = torch.tensor([[0.01], [0.0], [0.1]]), torch.tensor([[0.1], [0.0], [1.0]])
    whole = normal(3, 1600)
    results = []
    for place, dtype, update in (
        (torch.device("cpu"), torch.float64, adamw.update),
        (torch.device("cpu"), torch.float32, adamw.update),
        (device, torch.float32, lambda w, g, *rest: elementwise.adamw(w.flat, g.flat, *rest)),
    ):
        weights = whole.to(place, dtype, copy=True)
        state = {name: torch.zeros(shape, dtype=dtype, device=place) for name in adamw.STATE}
        for n in range(1, 4):
            gradient = normal(*shape, seed=n).to(place, dtype)
            gradient[:, :10], gradient[:, 10:20] = 0, 1e-42
            step = torch.full((3, 1), float(n), dtype=torch.float64, device=place)
            part = transformer.Flat(weights[:, 100:]), transformer.Flat(gradient)
            update(*part, state, hyper, step, lr.to(place, dtype), decay.to(place, dtype))
        results.append(torch.cat([weights, *state.values()], 1).cpu())
    exact, plain, found = results
    assert torch.equal(found[:, :100], whole[:, :100])
    assert torch.equal(found[1, :1600], whole[1])
    as_good(found, plain, exact)


@pytest.mark.parametrize("off", [0.0, 1e-4])
def test_the_study_of_edges_finds_errors(off, device, monkeypatch, capsys):
    """At a size of each; the whole takes minutes in the interpreter."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks" / "studies")
    study = importlib.import_module("kernel_edges")
    monkeypatch.setattr(study, "KINDS", {"strided": study.KINDS["strided"]})
    monkeypatch.setattr(study, "TALL", 20)
    silu = elementwise.silu
    monkeypatch.setattr(elementwise, "silu", lambda *given: silu(*given) * (1 + off))
    code = study.main(["--sides", "5", "--replicas", "1", "--widths", "7", "--classes", "5"])
    said = [line for line in capsys.readouterr().out.splitlines() if line.endswith("too large")]
    assert (code, len(said)) == ((1, 1) if off else (0, 0))
