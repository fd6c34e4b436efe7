"""Stochastic gradient descent with momentum for stacked replicas, equal to `torch.optim.SGD`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from grokbench.models.transformer import Flat

STATE = ("momentum",)


def update(
    weights: Flat,
    gradients: Flat,
    state: dict[str, Tensor],
    hyper: Mapping[str, Any],
    step: Tensor,
    lr: Tensor,
    weight_decay: Tensor,
) -> None:
    """One step in place; weight decay is coupled, that is, added to the gradient. Shapes as in `adamw`."""
    w = weights.flat
    g = torch.addcmul(gradients.flat, w, weight_decay)
    momentum = state["momentum"].mul_(hyper["momentum"]).add_(g)
    direction = g.add_(momentum, alpha=hyper["momentum"]) if hyper["nesterov"] else momentum
    w.addcmul_(direction, lr, value=-1)
