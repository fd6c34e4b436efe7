"""The three losses, forward alone and with backward, against torch's cross-entropy and entmax's sparsemax loss."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as functional
from measure import Race
from torch import Tensor

from grokbench.softmaxes import SOFTMAX

SHAPES = {"ci": (16, 256, 31), "paper": (16, 512, 97), "wide": (4, 1024, 1024)}  # (E, B, C)

Loss = Callable[[Tensor, Tensor], Tensor]


def _cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="none")


def _entmax(scores: Tensor, labels: Tensor) -> Tensor:
    """Skips where entmax is not installed."""
    entmax = pytest.importorskip("entmax", reason="entmax is not installed")
    out: Tensor = entmax.SparsemaxLoss(reduction="none")(scores.flatten(0, 1), labels.flatten())
    return out


REFERENCES = {"cross-entropy": ("torch's cross_entropy", _cross_entropy), "entmax": ("entmax.SparsemaxLoss", _entmax)}
PAIRS = [*((name, "cross-entropy") for name in SOFTMAX), ("sparsemax", "entmax")]


def _call(loss: Loss, scores: Tensor, labels: Tensor, backward: bool) -> Callable[[], object]:
    """Losses of scores (E, B, C) and labels (E, B), or the gradient of their sum."""
    if not backward:
        return lambda: loss(scores, labels)
    scores = scores.clone().requires_grad_()
    return lambda: torch.autograd.grad(loss(scores, labels).sum(), scores)


@pytest.mark.parametrize("direction", ["forward", "both"])
@pytest.mark.parametrize("size", SHAPES)
@pytest.mark.parametrize(("softmax", "reference"), PAIRS)
def test_loss(race: Race, softmax: str, reference: str, size: str, direction: str) -> None:
    shape = SHAPES[size]
    scores = torch.randn(shape, device=race.device)
    labels = torch.randint(shape[-1], shape[:-1], device=race.device)
    name, other = REFERENCES[reference]
    race(
        _call(SOFTMAX[softmax].loss, scores, labels, direction == "both"),
        _call(other, scores, labels, direction == "both"),
        name=name,
        dtype=scores.dtype,
        shapes={"scores": shape},
        counts={"rows": labels.numel()},
    )
