"""Newton–Schulz orthogonalisation of a batch of matrices against what else there is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import work
from measure import Race
from torch import Tensor
from torch.optim._muon import _zeropower_via_newtonschulz

from grokbench.optim.newton_schulz import QUINTIC, orthogonalize

STEPS = 5
SIDES = (32, 64, 128, 256, 512, 1024)
BATCHES = (1, 8, 64, 512)
FORMS = {"square": 1, "4:1": 4}

# What is left out: calls of more operations than this, about a second each. The largest operand is then 2 GiB.
MOST_FLOPS = {"cpu": 4e10, "cuda": 2e13}
# An SVD takes hundreds of times as long.
MOST_SVD_SIDE, MOST_SVD_BATCH = 128, 64


def _muon(g: Tensor) -> Callable[[], object]:
    """torch's own in `torch.optim.Muon`: matrix by matrix, in bfloat16."""
    return lambda: [_zeropower_via_newtonschulz(matrix, QUINTIC, STEPS, 1e-7) for matrix in g]


def _gram(g: Tensor) -> Callable[[], object]:
    """Dao-AILab's kernels: float16, for GPUs from Hopper on."""
    module = pytest.importorskip("gram_newton_schulz", reason="gram-newton-schulz is not installed")
    if g.device.type != "cuda":
        pytest.skip("gram-newton-schulz needs a CUDA device")
    run = module.GramNewtonSchulz(ns_coefficients=[QUINTIC] * STEPS, gram_newton_schulz_reset_iterations=[2])
    return lambda: run(g)


def _svd(g: Tensor) -> Callable[[], object]:
    """The exact answer, UVᵀ."""
    if min(g.shape[1:]) > MOST_SVD_SIDE or len(g) > MOST_SVD_BATCH:
        pytest.skip(f"an SVD is timed up to side {MOST_SVD_SIDE} and batch {MOST_SVD_BATCH}")

    def run() -> object:
        u, _, v = torch.linalg.svd(g, full_matrices=False)
        return u @ v

    return run


REFERENCES = {
    "muon": ("torch.optim.Muon's, bfloat16, one by one", _muon),
    "gram": ("gram-newton-schulz, float16", _gram),
    "svd": ("torch.linalg.svd", _svd),
}


@pytest.mark.filterwarnings("default")  # what a competitor warns of must not fail the measurement
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("reference", REFERENCES)
def test_orthogonalize(race: Race, reference: str, form: str, side: int, batch: int) -> None:
    out, into = FORMS[form] * side, side
    flops = batch * work.newton_schulz(out, into, STEPS)
    race.bound(flops, MOST_FLOPS[race.device.type])
    g = torch.randn(batch, out, into, device=race.device)
    name, make = REFERENCES[reference]
    race(
        lambda: orthogonalize(g, STEPS, QUINTIC),
        make(g),
        name=name,
        dtype=g.dtype,
        shapes={"matrices": g.shape},
        counts={"flops": flops},
    )
