"""AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) for stacked replicas, equal to `torch.optim.AdamW`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from grokbench.models.transformer import Flat
from grokbench.numerics.kernels.choice import wanted

STATE = ("mean", "square")


def update(
    weights: Flat,
    gradients: Flat,
    state: dict[str, Tensor],
    hyper: Mapping[str, Any],
    step: Tensor,
    lr: Tensor,
    weight_decay: Tensor,
) -> None:
    """One step in place. step (E, 1) float64 counts from 1; lr and weight_decay (E, 1); the rest (E, P)."""
    w, g = weights.flat, gradients.flat
    if wanted(w):
        from grokbench.numerics.kernels import elementwise

        if elementwise.fits(w, g):
            return elementwise.adamw(w, g, state, hyper, step, lr, weight_decay)
    beta1, beta2 = hyper["betas"]
    mean, square = state["mean"], state["square"]
    w.mul_(1 - lr * weight_decay)
    mean.lerp_(g, 1 - beta1)
    square.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    # √(v/c) + ε = (√v + ε·√c)/√c: the correction c of the square goes into the rate, and saves a pass
    root = (1 - beta2**step).sqrt()
    denominator = square.sqrt().add_((root * hyper["eps"]).to(w.dtype))
    rate = (lr * root / (1 - beta1**step)).to(w.dtype)
    w.addcmul_(mean / denominator, rate, value=-1)
    return None
