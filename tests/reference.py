"""The slow, obvious version of what the ensemble does (`grokbench.verify.plain`), with entmax's sparsemax loss."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from entmax import SparsemaxLoss
from torch import Tensor, nn

from grokbench.optim.adapter import two_modes
from grokbench.spec import RunSpec
from grokbench.verify import plain
from grokbench.verify.plain import optimizers


def loss(name: str, scores: Tensor, labels: Tensor) -> Tensor:
    """Mean loss."""
    if name == "softmax":
        return F.cross_entropy(scores, labels)
    if name == "sparsemax":
        return SparsemaxLoss(reduction="elementwise_mean")(scores, labels)
    return plain.loss(name, scores, labels)


def train(run: RunSpec, weights: dict[str, Tensor], epochs: int) -> tuple[nn.Module, list[float]]:
    """Train one replica from these weights, batch by batch; the module to evaluate and the mean loss of each epoch."""
    model = plain.module(run, weights)
    steppers = optimizers(run, model)
    averaging: list[Any] = [stepper for stepper in steppers if two_modes(stepper)]
    for stepper in averaging:
        stepper.train()
    means = plain.train(run, model, steppers, epochs, loss)
    for stepper in averaging:
        stepper.eval()
    return model, means


def evaluate(run: RunSpec, model: nn.Module) -> tuple[float, float, float, float]:
    """Training and validation accuracy, training and validation loss."""
    return plain.evaluate(run, model, loss)
