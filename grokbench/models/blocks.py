"""What a stacked transformer is made of, each with its own backward pass.

At this size a step is bound by passes over memory, so every block makes as few as it can: autograd's own chain
of elementary functions makes about twice as many. All are exact, and all are safe for the invariant of the
ensemble, that a slot's bits depend on nothing but the slot.

Shapes: E replicas, N hidden states of a replica, M of the layer below, T positions, H heads, K floats a head,
D = H·K width, F feed-forward width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NORM_EPSILON = 1e-6


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (E, N, in), weight (E, out, in) -> (E, N, out)."""
    return torch.bmm(x, weight.transpose(1, 2))


def _minus(x: Tensor, weight: Tensor) -> Tensor:
    """−x @ weight of each replica, without a pass for the sign."""
    return torch.baddbmm(x.new_empty(1, 1, 1), x, weight, beta=0, alpha=-1)


def scatter(rows: Tensor, index: Tensor, count: int) -> Tensor:
    """rows (n, D), index (n,) -> (count, D): the sums of the rows with each index, always in the same order."""
    if rows.is_cuda:  # index_add_ adds in any order there
        sums: Tensor = torch.ops.aten.embedding_dense_backward(rows, index, count, -1, False)
        return sums
    return rows.new_zeros(count, rows.shape[1]).index_add_(0, index, rows)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape = x.shape
        return x.reshape(-1, x.shape[-1]).index_select(0, index.flatten()).view(*index.shape, x.shape[-1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        replicas, states, width = ctx.shape
        sums = scatter(grad.reshape(-1, width), index.flatten(), replicas * states)
        return sums.view(ctx.shape), None


def gather(x: Tensor, index: Tensor) -> Tensor:
    """x (E, M, D), index (...) of rows of all E·M -> (..., D)."""
    out: Tensor = _Gather.apply(x, index)
    return out


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        rate = (x.square().mean(-1, keepdim=True) + NORM_EPSILON).rsqrt()
        unit = x * rate
        ctx.save_for_backward(unit, rate, gain)
        return unit * gain[:, None]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        unit, rate, gain = ctx.saved_tensors
        by_gain = (grad * unit).sum(1)
        grad = grad * gain[:, None]
        radial = (grad * unit).mean(-1, keepdim=True)
        return grad.addcmul_(unit, radial, value=-1).mul_(rate), by_gain


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    """x (E, N, D) over its root mean square, times gain (E, D)."""
    out: Tensor = _RmsNorm.apply(x, gain)
    return out


class _RowScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, keys: Tensor, heads: int) -> Tensor:
        ctx.shape = k.shape
        chosen = k.reshape(-1, k.shape[-1]).index_select(0, keys.flatten()).view(*keys.shape, heads, -1)
        q = q.view(*q.shape[:2], heads, -1)
        ctx.save_for_backward(q, chosen, keys)
        return (chosen * q).sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        q, chosen, keys = ctx.saved_tensors
        grad = grad[..., None]  # (T, E, N, H, 1)
        by_q = chosen[0] * grad[0]
        for t in range(1, len(keys)):
            by_q.addcmul_(chosen[t], grad[t])
        replicas, states, width = ctx.shape
        by_k = scatter((grad * q).view(-1, width), keys.flatten(), replicas * states)
        return by_q.flatten(2), by_k.view(ctx.shape), None, None


def row_scores(q: Tensor, k: Tensor, keys: Tensor, heads: int) -> Tensor:
    """q (E, N, D), k (E, M, D), keys (T, E, N) of rows of all E·M -> products (T, E, N, H) with the T keys of each."""
    out: Tensor = _RowScores.apply(q, k, keys, heads)
    return out


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, v: Tensor, keys: Tensor) -> Tensor:
        shares = scores - scores.amax(0)
        shares.exp_().div_(shares.sum(0))
        chosen = v.reshape(-1, v.shape[-1]).index_select(0, keys.flatten()).view(*scores.shape, -1)
        ctx.save_for_backward(shares, chosen, keys)
        ctx.shape = v.shape
        mixed = chosen[0] * shares[0, ..., None]
        for t in range(1, len(keys)):
            mixed.addcmul_(chosen[t], shares[t, ..., None])
        return mixed.flatten(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        shares, chosen, keys = ctx.saved_tensors
        grad = grad.view(chosen.shape[1:])
        slope = (chosen * grad).sum(-1).mul_(shares)
        slope.addcmul_(shares, slope.sum(0), value=-1)
        replicas, states, width = ctx.shape
        by_v = scatter((shares[..., None] * grad).view(-1, width), keys.flatten(), replicas * states)
        return slope, by_v.view(ctx.shape), None


def attend(scores: Tensor, v: Tensor, keys: Tensor) -> Tensor:
    """Mix values by the softmax over positions: scores (T, E, N, H), v (E, M, D), keys (T, E, N) -> (E, N, D).

    Made for a few short positions: the mixture is a sum of T terms, for which products would be too thin.
    """
    out: Tensor = _Attend.apply(scores, v, keys)
    return out


class _FeedForward(torch.autograd.Function):
    """Everything with the sign of −z, so that exp(−z) needs no pass for the sign; the products take it back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, up: Tensor, down: Tensor, gate: Tensor | None) -> Tensor:
        minus = _minus(x, (up if gate is None else gate).transpose(1, 2))  # −z
        base = minus.exp().add_(1)
        minus.div_(base)  # −silu(z)
        raised = None if gate is None else linear(x, up)
        ctx.save_for_backward(x, up, down, gate, minus, base, raised)
        return _minus(minus if raised is None else minus * raised, down.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        x, up, down, gate, minus, base, raised = ctx.saved_tensors
        inner = torch.bmm(grad, down)  # the slope of the loss in silu(z), or in silu(z)·raised
        by_down = _minus(grad.transpose(1, 2), minus if raised is None else minus * raised)
        share = base.reciprocal_()
        slope = (share - 1).mul_(minus).add_(share).mul_(inner)  # share·(1 + z·(1 − share)) is the slope of silu
        if raised is None:
            return torch.bmm(slope, up), torch.bmm(slope.transpose(1, 2), x), by_down, None
        slope.mul_(raised)
        inner.mul_(minus)  # minus the slope in raised
        by_x = torch.baddbmm(torch.bmm(slope, gate), inner, up, alpha=-1)
        return by_x, _minus(inner.transpose(1, 2), x), by_down, torch.bmm(slope.transpose(1, 2), x)


def feed_forward(x: Tensor, up: Tensor, down: Tensor, gate: Tensor | None = None) -> Tensor:
    """down(silu(up x)), or down(silu(gate x) · up x) with a gate: x (E, N, D), up and gate (E, F, D), down (E, D, F).

    torch's SiLU on a CPU computes the elements at the end of a thread's share by other instructions than the
    rest, with other roundings, so that a run's bits would depend on its slot. `exp` does not.
    """
    out: Tensor = _FeedForward.apply(x, up, down, gate)
    return out
