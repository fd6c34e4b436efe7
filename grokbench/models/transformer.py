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
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from grokbench.models.blocks import attend, feed_forward, gather, linear, rms_norm, row_scores
from grokbench.models.prefixes import Dropout, Lookups, Route
from grokbench.numerics import rng
from grokbench.numerics.kernels.choice import wanted
from grokbench.spec import ALIGNMENT, ModelSpec
from grokbench.spec.errors import require


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

    @property
    def room(self) -> int:
        """What it takes in a row: whole cache lines, so that the next one begins on one."""
        return -(-self.size // ALIGNMENT) * ALIGNMENT


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
    if model.norms:
        for i in range(model.depth):
            shapes.append((f"layers.{i}.attention_norm.weight", (d,), False))
            shapes.append((f"layers.{i}.feed_forward_norm.weight", (d,), False))
        shapes.append(("norm.weight", (d,), False))
    return placed(shapes)


def placed(shapes: Iterable[tuple[str, tuple[int, ...], bool]]) -> tuple[Slice, ...]:
    """Parameters by name, shape and whether they are hidden matrices, one after the other in a row."""
    slices, offset = [], 0
    for name, shape, hidden in shapes:
        slices.append(Slice(name, shape, offset, hidden))
        offset += slices[-1].room
    return tuple(slices)


class Flat:
    """A buffer (E, P) with a row for each replica."""

    def __init__(self, flat: Tensor) -> None:
        self.flat = flat


class Stack(Flat):
    """A flat buffer (E, P) and the named views (E, *shape) into it."""

    def __init__(self, slices: tuple[Slice, ...], flat: Tensor) -> None:
        super().__init__(flat)
        self.slices = slices
        self.views = {
            s.name: flat[:, s.offset : s.offset + s.size].view(flat.shape[0], *s.shape).detach() for s in slices
        }

    def part(self, hidden: bool) -> Stack:
        """The hidden matrices alone, or all the other parameters. Raises `UsageError` if there are none."""
        chosen = [s for s in self.slices if s.hidden == hidden]
        what = "hidden matrices" if hidden else "parameters beside its hidden matrices"
        require(bool(chosen), f"an optimizer of matrices cannot train this model: it has no {what}")
        start = chosen[0].offset
        moved = tuple(dataclasses.replace(s, offset=s.offset - start) for s in chosen)
        return Stack(moved, self.flat[:, start : start + row_size(moved)])


def row_size(slices: tuple[Slice, ...]) -> int:
    return sum(s.room for s in slices)


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


def operands(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    """The same rows in the pieces that `forward` takes: keys and values, which lie side by side, in one product."""
    joined: list[Slice] = []
    for s in slices:
        if s.name.endswith("attention.value.weight"):
            key = joined.pop()
            name = key.name.replace("key", "key_value")
            joined.append(Slice(name, (key.shape[0] + s.shape[0], s.shape[1]), key.offset, True))
        else:
            joined.append(s)
    return tuple(joined)


def forward(model: ModelSpec, weights: dict[str, Tensor], lookups: Lookups, dropout: Dropout | None = None) -> Tensor:
    """Scores (E, R, C) at the last token of the questions (E, R) whose lookups these are.

    weights: views (E, ...) by the names of `operands`. `dropout` is called with the output (E, N, D) of each
    residual branch and the branch's number.
    """
    embedding = weights["embedding.weight"]
    if wanted(embedding) and model.norms and embedding.dtype == torch.float32:
        from grokbench.models import fused

        return fused.forward(model, weights, lookups, dropout)
    x = gather(embedding, lookups.embedded)  # the token's integer is its row
    for i, route in enumerate(lookups.routes):
        w = {name: weights.get(f"layers.{i}.{name}.weight") for name in _LAYER}
        x = _layer(model, w, x, route, i, dropout)
    return linear(_norm(x, weights.get("norm.weight")), weights["head.weight"])


_LAYER = (
    *("attention_norm", "attention.query", "attention.key_value", "attention.output"),
    *("feed_forward_norm", "feed_forward.gate", "feed_forward.up", "feed_forward.down"),
)


def _layer(
    model: ModelSpec, w: dict[str, Any], x: Tensor, route: Route, number: int, dropout: Dropout | None
) -> Tensor:
    """The states above a layer (E, N, D) from those below it, x (E, M, D)."""
    y = _norm(x, w["attention_norm"])
    both = linear(y, w["attention.key_value"])
    k, v = _rotate(both[..., : model.width], model.heads, route.below), both[..., model.width :]
    if route.pairs is not None:
        begin, end = route.queries
        q = linear(y[:, begin:end], w["attention.query"])
        q = _rotate(q, model.heads, tuple(table[begin:end] for table in route.below))
        scores = _table_scores(q, k, route.pairs, model.heads)
    else:
        q = _rotate(linear(gather(y, route.own), w["attention.query"]), model.heads, route.above)
        scores = row_scores(q, k, route.keys, model.heads)
    scores = scores * (model.width // model.heads) ** -0.5
    if route.later is not None:
        scores = scores.masked_fill(route.later, -torch.inf)
    y = linear(attend(scores, v, route.keys), w["attention.output"])
    x = gather(x, route.own) + (y if dropout is None else dropout(y, 2 * number))
    y = _norm(x, w["feed_forward_norm"])
    y = feed_forward(y, w["feed_forward.up"], w["feed_forward.down"], w["feed_forward.gate"])
    return x + (y if dropout is None else dropout(y, 2 * number + 1))


def _norm(x: Tensor, gain: Tensor | None) -> Tensor:
    """Without a gain the model has no norms."""
    return x if gain is None else rms_norm(x, gain)


def _rotate(x: Tensor, heads: int, rotation: tuple[Tensor, ...]) -> Tensor:
    """Turn every head of x (E, N, D), whose two halves are the coordinates, by the angles of its position."""
    cos, sin = rotation
    parts = x.view(*x.shape[:2], heads, 2, -1)
    swapped = parts.flip(-2).flatten(-2)
    return torch.addcmul(parts.flatten(-2) * cos, swapped, sin).flatten(2)


def _table_scores(q: Tensor, k: Tensor, pairs: Tensor, heads: int) -> Tensor:
    """All products of queries and keys, looked up by their numbers (T, E, N): (T, E, N, H)."""
    replicas, states = k.shape[:2]
    queries = q.shape[1]
    q, k = (x.view(replicas, -1, heads, x.shape[2] // heads).transpose(1, 2).flatten(0, 1) for x in (q, k))
    products = torch.bmm(q, k.transpose(1, 2)).view(replicas, heads, queries, states)
    return gather(products.permute(0, 2, 3, 1).flatten(1, 2), pairs)
