"""The stacked transformer: E independent replicas as one program.

Every parameter has a leading replica axis and the orientation of `nn.Linear`, (E, out, in). All parameters of
a replica lie in one row of a flat buffer (E, P), hidden matrices first, so that element-wise optimizers work on
the whole row, and matrix optimizers on views of it.

Shapes: E replicas, B rows of a batch, T tokens, Q queried positions, H heads, K floats a head, D width,
F feed-forward width, V vocabulary, C classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.autograd.function import once_differentiable

from grokbench import rng
from grokbench.spec import ModelSpec

ROPE_BASE = 10000.0  # Su et al. 2021 (arXiv 2104.09864)
NORM_EPSILON = 1e-6

Dropout = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Slice:
    """Where one parameter lies in a replica's row. `hidden`: a matrix between embedding and head."""

    name: str
    shape: tuple[int, ...]
    offset: int
    hidden: bool

    @property
    def size(self) -> int:
        return math.prod(self.shape)


def layout(model: ModelSpec, vocabulary: int, classes: int) -> tuple[Slice, ...]:
    """The parameters of one replica, hidden matrices first; q, k and v are separate matrices."""
    d, f = model.width, model.feed_forward
    shapes: list[tuple[str, tuple[int, ...], bool]] = []
    for i in range(model.depth):
        shapes += [
            (f"layers.{i}.attention.{role}.weight", (d, d), True) for role in ("query", "key", "value", "output")
        ]
        if model.gated:
            shapes.append((f"layers.{i}.feed_forward.gate.weight", (f, d), True))
        shapes.append((f"layers.{i}.feed_forward.up.weight", (f, d), True))
        shapes.append((f"layers.{i}.feed_forward.down.weight", (d, f), True))
    shapes.append(("embedding.weight", (vocabulary, d), False))
    shapes.append(("head.weight", (classes, d), False))
    for i in range(model.depth):
        shapes.append((f"layers.{i}.attention_norm.weight", (d,), False))
        shapes.append((f"layers.{i}.feed_forward_norm.weight", (d,), False))
    shapes.append(("norm.weight", (d,), False))
    slices, offset = [], 0
    for name, shape, hidden in shapes:
        slices.append(Slice(name, shape, offset, hidden))
        offset += math.prod(shape)
    return tuple(slices)


class Stack:
    """A flat buffer (E, P) and the named views (E, *shape) into it."""

    def __init__(self, slices: tuple[Slice, ...], flat: Tensor) -> None:
        self.slices = slices
        self.flat = flat
        self.views = {
            s.name: flat[:, s.offset : s.offset + s.size].view(flat.shape[0], *s.shape).detach() for s in slices
        }

    def part(self, hidden: bool) -> Stack:
        """The hidden matrices alone, or all the other parameters."""
        chosen = [s for s in self.slices if s.hidden == hidden]
        start = chosen[0].offset
        moved = tuple(dataclasses.replace(s, offset=s.offset - start) for s in chosen)
        return Stack(moved, self.flat[:, start : start + row_size(moved)])


def row_size(slices: tuple[Slice, ...]) -> int:
    return sum(s.size for s in slices)


def initial_row(model: ModelSpec, slices: tuple[Slice, ...], key: int) -> Tensor:
    """(P,) the initial weights of the run with this key, on the CPU.

    Gains are 1, the embedding has standard deviation 1 as in `nn.Embedding`, every matrix 1/√in. Not published,
    so chosen.
    """
    rows = []
    for ordinal, s in enumerate(slices):
        if len(s.shape) == 1:
            rows.append(torch.ones(s.size, dtype=torch.float64))
        else:
            scale = 1.0 if s.name == "embedding.weight" else s.shape[1] ** -0.5
            rows.append(rng.normal(key, ordinal, s.size) * scale)
    return torch.cat(rows).to(getattr(torch, model.dtype))


def rotary_table(positions: int, head: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines (T, K/2) of the rotary position embedding."""
    rates = ROPE_BASE ** (-torch.arange(0, head, 2, dtype=torch.float64) / head)
    angles = torch.arange(positions, dtype=torch.float64)[:, None] * rates
    return angles.cos().to(like), angles.sin().to(like)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the two halves of every head, x (E, B, Q or 1, H, K), by the angles (Q, K/2) of its position."""
    first, second = x.chunk(2, -1)
    cos, sin = cos[:, None], sin[:, None]
    return torch.cat((first * cos - second * sin, first * sin + second * cos), -1)


def _split(x: Tensor, heads: int) -> Tensor:
    """x (..., D) -> (..., H, K)."""
    return x.view(*x.shape[:-1], heads, x.shape[-1] // heads)


def _embed_rotated(tokens: Tensor, table: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """tokens (E, B, Q), table (E, V, 1, H, K) -> (E, B, Q, H, K), rotated by their positions' angles (Q, K/2)."""
    positions, head = cos.shape[0], table.shape[-2:]
    rotated = _rotate(table, cos, sin)  # (E, V, Q, H, K)
    rows = tokens * positions + torch.arange(positions, device=tokens.device)
    return embed(rows, rotated.reshape(rotated.shape[0], -1, math.prod(head))).view(*rows.shape, *head)


class _Silu(torch.autograd.Function):
    """z / (1 + exp(−z)).

    torch's silu on a CPU computes the elements at the end of a thread's share by other instructions than the
    rest, with other roundings, so that a run's bits would depend on its slot. `exp` does not.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        gate = z.neg().exp_().add_(1).reciprocal_()
        ctx.save_for_backward(z, gate)
        return z * gate

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        z, gate = ctx.saved_tensors
        # gate·(1 + z·(1 − gate))
        slope: Tensor = (1 - gate).mul_(z).add_(1).mul_(gate).mul_(grad)
        return slope


def silu(z: Tensor) -> Tensor:
    out: Tensor = _Silu.apply(z)
    return out


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x (E, ..., in), weight (E, out, in) -> (E, ..., out)."""
    product = torch.bmm(x.flatten(1, -2), weight.transpose(1, 2))
    return product.view(*x.shape[:-1], weight.shape[1])


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    """x (E, B, Q, D) over its root mean square, times gain (E, D)."""
    scale = (x.square().mean(-1, keepdim=True) + NORM_EPSILON).rsqrt()
    return x * scale * gain[:, None, None]


def embed(tokens: Tensor, table: Tensor) -> Tensor:
    """tokens (E, B, T), table (E, V, D) -> (E, B, T, D): the token's integer is its row."""
    offsets = torch.arange(table.shape[0], device=tokens.device)[:, None, None] * table.shape[1]
    return functional.embedding(tokens + offsets, table.reshape(-1, table.shape[-1]))


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of the last Q positions: q (E, B, Q, H, K), k and v (E, B, T, H, K) -> like q."""
    scale = q.shape[-1] ** -0.5
    queries, positions = q.shape[2], k.shape[2]
    if queries == 1:  # every key is visible; products this thin are faster as sums
        shares = (q * k).sum(-1, keepdim=True).mul(scale).softmax(2)  # (E, B, T, H, 1)
        return (shares * v).sum(2, keepdim=True)
    q, k, v = (x.transpose(2, 3) for x in (q, k, v))  # (E, B, H, ·, K)
    later = torch.ones(queries, positions, dtype=torch.bool, device=q.device).triu(positions - queries + 1)
    scores = (q @ k.transpose(-1, -2) * scale).masked_fill(later, -torch.inf)
    mixed: Tensor = scores.softmax(-1) @ v
    return mixed.transpose(2, 3)


def forward(model: ModelSpec, weights: dict[str, Tensor], tokens: Tensor, dropout: Dropout | None = None) -> Tensor:
    """Scores (E, B, C) at the last token of every row, tokens (E, B, T).

    Only the last position feeds the loss, so the last layer queries that one alone. `dropout` is called with
    the output (E, B, Q, D) of each residual branch and the branch's number.
    """
    positions = tokens.shape[2]
    table = weights["embedding.weight"]
    cos, sin = rotary_table(positions, model.width // model.heads, table)
    for i in range(model.depth):
        w = {name: weights[f"layers.{i}.{name}.weight"] for name in _layer_names(model)}
        queries = 1 if i == model.depth - 1 else positions
        roles = [w[f"attention.{role}"] for role in ("query", "key", "value")]
        if i == 0:  # all depends on token and position alone: work on the vocabulary, then gather
            last = tokens[:, :, -queries:]
            x = embed(last, table)  # (E, B, Q, D)
            y = rms_norm(table[:, :, None], w["attention_norm"])  # (E, V, 1, D)
            q, k, v = (_split(linear(y, role), model.heads) for role in roles)  # (E, V, 1, H, K)
            q = _embed_rotated(last, q, cos[-queries:], sin[-queries:])
            k = _embed_rotated(tokens, k, cos, sin)
            v = _split(embed(tokens, v.flatten(2)), model.heads)
        else:
            y = rms_norm(x, w["attention_norm"])
            x, y_q = x[:, :, -queries:], y[:, :, -queries:]
            q, k, v = (_split(linear(z, role), model.heads) for z, role in zip((y_q, y, y), roles, strict=True))
            q, k = _rotate(q, cos[-queries:], sin[-queries:]), _rotate(k, cos, sin)
        mixed = attend(q, k, v)
        y = linear(mixed.flatten(-2), w["attention.output"])
        x = x + (dropout(y, 2 * i) if dropout else y)
        y = rms_norm(x, w["feed_forward_norm"])
        up = linear(y, w["feed_forward.up"])  # (E, B, Q, F)
        up = silu(linear(y, w["feed_forward.gate"])) * up if model.gated else silu(up)
        y = linear(up, w["feed_forward.down"])
        x = x + (dropout(y, 2 * i + 1) if dropout else y)
    x = rms_norm(x, weights["norm.weight"])[:, :, 0]  # (E, B, D)
    return linear(x, weights["head.weight"])


def _layer_names(model: ModelSpec) -> list[str]:
    names = ["attention_norm", "feed_forward_norm"]
    names += [f"attention.{role}" for role in ("query", "key", "value", "output")]
    return names + [f"feed_forward.{role}" for role in ("up", "down", *(("gate",) if model.gated else ()))]
