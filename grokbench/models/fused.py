"""The stacked transformer in few launches, for a GPU: what lies between two products is one kernel.

The same functions as in `transformer` and `blocks`, rounded otherwise. Nothing but products and kernels is launched, so
a layer without dropout is 9 launches forward, and 20 back. Float32 alone, and with norms.

Shapes as in `transformer`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from grokbench.models.blocks import NORM_EPSILON, scatter
from grokbench.models.prefixes import Dropout, Lookups, Route
from grokbench.numerics.kernels import attention, elementwise, norms, sums
from grokbench.spec import ModelSpec


def forward(model: ModelSpec, weights: dict[str, Tensor], lookups: Lookups, dropout: Dropout | None = None) -> Tensor:
    """What `transformer.forward` gives."""
    x = weights["embedding.weight"]
    index: Tensor | None = lookups.embedded
    branch: Tensor | None = None
    for i, route in enumerate(lookups.routes):
        w = {name.removeprefix(f"layers.{i}."): view for name, view in weights.items()}
        x, y = _SumAndNorm.apply(x, index, branch, w["attention_norm.weight"])
        y = _attention(model, w, y, route)
        y = y if dropout is None else dropout(y, 2 * i)
        x, y = _SumAndNorm.apply(x, route.own, y, w["feed_forward_norm.weight"])
        gate = w.get("feed_forward.gate.weight")
        y = _FeedForward.apply(y, w["feed_forward.up.weight"], w["feed_forward.down.weight"], gate)
        index, branch = None, y if dropout is None else dropout(y, 2 * i + 1)
    _, y = _SumAndNorm.apply(x, index, branch, weights["norm.weight"])
    scores: Tensor = _Linear.apply(y, weights["head.weight"])
    return scores


def _attention(model: ModelSpec, w: dict[str, Tensor], y: Tensor, route: Route) -> Tensor:
    """The branch (E, N, D) of normed states y (E, M, D) below."""
    query, both, output = (w[f"attention.{name}.weight"] for name in ("query", "key_value", "output"))
    if route.pairs is not None:  # queries of few states, which rows look up
        begin, end = route.queries
        q, kv = _Project.apply(y, query, both, begin, end)
        above = route.below[0][begin:end], route.below[1][begin:end]
        looked = attention.Looked(route.keys, route.own, begin, route.later, route.below, above)
    else:
        q, kv = _Linear.apply(_Gather.apply(y, route.own), query), _Linear.apply(y, both)
        looked = attention.Looked(route.keys, None, 0, route.later, route.below, route.above)
    mixed: Tensor = _Linear.apply(_Attend.apply(q, kv, looked, model.heads), output)
    return mixed


def _summed(rows: Tensor, index: Tensor, states: int, first: int = 0, count: int | None = None) -> Tensor:
    """rows (..., E, N, D) by index (..., E, N) of rows of all E·states -> the sums (E, count, D) from `first` on."""
    count = states if count is None else count
    if count <= sums.MOST:
        return sums.sums(rows, index, states, first, count)
    replicas, width = rows.shape[-3], rows.shape[-1]
    whole = scatter(rows.reshape(-1, width), index.flatten(), replicas * states).view(replicas, states, width)
    return whole[:, first : first + count]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.bmm(x, weight.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        return torch.bmm(grad, weight), torch.bmm(grad.mT, x)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.states = x.shape[1]
        return x.flatten(0, 1).index_select(0, index.flatten()).view(*index.shape, x.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (index,) = ctx.saved_tensors
        return _summed(grad, index, ctx.states), None


class _SumAndNorm(torch.autograd.Function):
    """The residual sum x[index] + branch (E, N, D), and its norm times the gain."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, index: Tensor | None, branch: Tensor | None, gain: Tensor
    ) -> tuple[Tensor, Tensor]:
        total, out, rates = norms.forward(x, index, branch, gain, NORM_EPSILON)
        ctx.save_for_backward(index, total, rates, gain)
        ctx.states, ctx.added = x.shape[1], branch is not None
        ctx.set_materialize_grads(False)  # the last sum goes nowhere else
        return total, out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, passed: Tensor | None, grad: Tensor) -> tuple[Tensor, None, Tensor | None, Tensor]:
        index, total, rates, gain = ctx.saved_tensors
        slope, by_gain = norms.backward(grad, passed, total, rates, gain)
        by_x = slope if index is None else _summed(slope, index, ctx.states)
        return by_x, None, slope if ctx.added else None, by_gain


class _Project(torch.autograd.Function):
    """Queries of the states `begin` to `end`, and keys and values of all."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, query: Tensor, both: Tensor, begin: int, end: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(y, query, both)
        ctx.span = slice(begin, end)
        return torch.bmm(y[:, begin:end], query.mT), torch.bmm(y, both.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_q: Tensor, by_both: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        y, query, both = ctx.saved_tensors
        by_y = torch.bmm(by_both, both)
        by_y[:, ctx.span].baddbmm_(by_q, query)
        return by_y, torch.bmm(by_q.mT, y[:, ctx.span]), torch.bmm(by_both.mT, y), None, None


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, both: Tensor, looked: attention.Looked, heads: int) -> Tensor:
        out, logs = attention.forward(q, both, looked, heads)
        ctx.save_for_backward(q, both, out, logs)
        ctx.looked, ctx.heads = looked, heads
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        q, both, out, logs = ctx.saved_tensors
        looked, states = ctx.looked, both.shape[1]
        by_q, by_both = attention.backward(grad, q, both, out, logs, looked, ctx.heads)
        if looked.own is not None:
            by_q = _summed(by_q, looked.own, states, looked.first, q.shape[1])
        return by_q, _summed(by_both, looked.keys, states), None, None


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, up: Tensor, down: Tensor, gate: Tensor | None) -> Tensor:
        z = torch.bmm(x, (up if gate is None else gate).mT)
        raised = None if gate is None else torch.bmm(x, up.mT)
        inner = elementwise.silu(z, raised)
        ctx.save_for_backward(x, up, down, gate, z, raised, inner)
        return torch.bmm(inner, down.mT)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        x, up, down, gate, z, raised, inner = ctx.saved_tensors
        by_z, by_raised = elementwise.silu_back(torch.bmm(grad, down), z, raised)
        by_down = torch.bmm(grad.mT, inner)
        by_first = torch.bmm(by_z.mT, x)
        if by_raised is None:
            return torch.bmm(by_z, up), by_first, by_down, None
        by_x = torch.bmm(by_z, gate).baddbmm_(by_raised, up)
        return by_x, torch.bmm(by_raised.mT, x), by_down, by_first
