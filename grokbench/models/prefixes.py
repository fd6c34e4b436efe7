"""Which hidden states a stacked transformer has to compute, and from which others each is made.

With a causal mask, the hidden state at position t depends on the tokens up to t alone. Where the questions have
fewer distinct beginnings of that length than a batch has rows, each beginning is computed once and rows look it
up. Below the first layer a state depends on its own token and position alone. Above the last layer only the
last position is needed. With dropout, the states of two rows differ even if they begin alike.

Shapes: Q questions of a task, T positions of each, E replicas, R rows of a batch, N states of a level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from grokbench.spec import ALIGNMENT, ModelSpec

ROPE_BASE = 10000.0  # Su et al. 2021 (arXiv 2104.09864)
# A product of a query and a key in a table costs about a sixteenth of one that is gathered for each row.
TABLE_ADVANTAGE = 16


Dropout = Callable[[Tensor, int], Tensor]
"""From the output (E, N, D) of a residual branch and its number to the output with some units zero."""


class Level:
    """The states between two layers: first those that rows share, then R states for every other position.

    groups: for each position in `at`, the number (Q,) of the group that every question's state belongs to, or
    None where no two rows share a state.
    """

    def __init__(self, tokens: Tensor, groups: Sequence[Tensor | None], at: Sequence[int], rows: int) -> None:
        self.rows = rows
        self.shared: dict[int, Tensor] = {}  # by position: the state (Q,) of each question
        positions: list[int] = []
        questions: list[int] = []
        for t in at:
            group = groups[t]
            count = rows if group is None else int(group.max()) + 1
            if group is not None and count < rows:
                self.shared[t] = group + len(positions)
                any_of = torch.full((count,), len(tokens))
                questions += any_of.scatter_reduce(0, group, torch.arange(len(tokens)), "amin").tolist()
                positions += [t] * count
        filling = -len(positions) % ALIGNMENT  # states that nothing reads, so that the rest begin on a cache line
        positions += positions[:1] * filling
        questions += questions[:1] * filling
        self.questions = torch.tensor(questions, dtype=torch.int64)
        self.blocks = {t: len(positions) + i * rows for i, t in enumerate(t for t in at if t not in self.shared)}
        for t in self.blocks:
            positions += [t] * rows
        self.positions = torch.tensor(positions)

    @property
    def states(self) -> int:
        return len(self.positions)

    def find(self, questions: Tensor, t: int) -> Tensor:
        """The states (E, R) of these questions (E, R) at position t."""
        if t in self.shared:
            return self.shared[t][questions]
        return self.blocks[t] + torch.arange(self.rows, device=questions.device).expand(questions.shape)


def _groups(beginnings: Tensor) -> Tensor:
    """beginnings (Q, t) -> the number (Q,) of each among the distinct ones."""
    inverse: Tensor = torch.unique(beginnings, dim=0, return_inverse=True)[1]
    return inverse


class Route(NamedTuple):
    """How the N states above a layer read those below it, numbered through all replicas.

    keys (T, E, N), own (E, N); later (T, 1, N, 1), True where a key comes after the query, None if nowhere.
    pairs (T, E, N): where all products of queries and keys are computed at once, the number of each of these, else
    None. queries: where the queries' states begin and end below. below, above: cosines and sines of positions there.
    """

    keys: Tensor
    own: Tensor
    later: Tensor | None
    pairs: Tensor | None
    queries: tuple[int, int]
    below: tuple[Tensor, Tensor]
    above: tuple[Tensor, Tensor]


class Lookups(NamedTuple):
    """What a batch looks up: the row (E, N) in the embeddings of all replicas for each first state, and the routes."""

    embedded: Tensor
    routes: list[Route]


class Plan:
    """The levels of a model on batches of R rows of a task, and the routes between them."""

    def __init__(self, model: ModelSpec, tokens: Tensor, rows: int, device: torch.device, *, dropout: bool) -> None:
        length = tokens.shape[1]
        every = range(length)
        distinct = [_groups(tokens[:, t : t + 1]) for t in every]
        prefixes = [_groups(tokens[:, : t + 1]) for t in every]
        apart = [None] * length
        first = Level(tokens, distinct, every, rows)
        middle = Level(tokens, apart if dropout else prefixes, every, rows)
        last = Level(tokens, apart, [length - 1], rows)
        self.levels = [first, *[middle] * (model.depth - 1), last]
        self._device, self._length, self._tokens = device, length, tokens.to(device)
        self._fixed = [self._fix(below, above) for below, above in zip(self.levels, self.levels[1:], strict=False)]
        self._rotations = [_rotation(level.positions, model, device) for level in self.levels]
        for level in (first, middle, last):
            level.shared = {t: table.to(device) for t, table in level.shared.items()}
        self._first_tokens = tokens[first.questions, first.positions[: len(first.questions)]].to(device)

    def _fix(self, below: Level, above: Level) -> tuple[Tensor, Tensor, Tensor | None, bool, tuple[int, int]]:
        """What does not depend on the batch: keys (T, C) and own (C,) of the shared states above, and the rest."""
        at = above.positions[: len(above.questions)]
        own = torch.empty_like(at)
        for t in above.shared:
            own[at == t] = below.shared[t][above.questions[at == t]]
        keys = own.repeat(self._length, 1)
        for t in above.shared:
            for s in range(t):
                keys[s, at == t] = below.shared[s][above.questions[at == t]]
        later = (torch.arange(self._length)[:, None] > above.positions)[:, None, :, None]
        span = (0, below.states)
        if len(at) == 0 and len(above.blocks) == 1:  # one position only: its queries lie side by side
            (t,) = above.blocks
            first = int(below.shared[t].min()) if t in below.shared else below.blocks[t]
            span = (first, int(below.shared[t].max()) + 1 if t in below.shared else first + below.rows)
        cheap = (span[1] - span[0]) * below.states <= TABLE_ADVANTAGE * above.states * self._length
        table = below is self.levels[0] and not below.blocks and cheap
        device = self._device
        return keys.to(device), own.to(device), later.to(device) if later.any() else None, table, span

    def lookups(self, questions: Tensor, replicas: int, vocabulary: int) -> list[Lookups]:
        """For batches of questions (S·E, R), one step after another, what each of the S steps looks up.

        Made for many steps at once, since each of these small operations costs a GPU as much as a large one.
        """
        steps = len(questions) // replicas
        replica = torch.arange(replicas, device=questions.device).repeat(steps)[:, None]

        def each(index: Tensor) -> tuple[Tensor, ...]:
            """(…, S·E, N) -> S times (…, E, N), contiguous."""
            apart = index.view(*index.shape[:-2], steps, replicas, index.shape[-1])
            return apart.movedim(-3, 0).contiguous().unbind(0)

        tokens = [self._tokens[questions, t] for t in self.levels[0].blocks]
        first = torch.cat([self._first_tokens.expand(len(questions), -1), *tokens], 1)
        layers = [self._routes(i, questions, replica, each) for i in range(len(self._fixed))]
        embedded = each(first + replica * vocabulary)
        return [Lookups(embedded[s], [layer[s] for layer in layers]) for s in range(steps)]

    def _routes(
        self, layer: int, questions: Tensor, replica: Tensor, each: Callable[[Tensor], tuple[Tensor, ...]]
    ) -> list[Route]:
        """The routes through a layer, for each step. replica: (S·E, 1) the number of each row's replica."""
        keys, own, later, table, (begin, end) = self._fixed[layer]
        below, above = self.levels[layer], self.levels[layer + 1]
        found = torch.stack([below.find(questions, t) for t in range(self._length)])  # (T, S·E, R)
        keys = torch.cat([keys[:, None].expand(-1, len(questions), -1), *[found] * len(above.blocks)], 2)
        own = torch.cat([own.expand(len(questions), -1), *(found[t] for t in above.blocks)], 1)
        # A product's number: the query's among those of all replicas, and the key's in its own.
        pairs = each((own - begin + (end - begin) * replica) * below.states + keys) if table else None
        start = replica * below.states
        rotations = self._rotations[layer], self._rotations[layer + 1]
        return [
            Route(one, other, later, pairs[s] if pairs else None, (begin, end), *rotations)
            for s, (one, other) in enumerate(zip(each(keys + start), each(own + start), strict=True))
        ]


def _rotation(positions: Tensor, model: ModelSpec, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines (N, 1, K) of the rotary embedding at these positions: out = x·cos + swapped x·sin."""
    head = model.width // model.heads
    rates = ROPE_BASE ** (-torch.arange(0, head, 2, dtype=torch.float64) / head)
    angles = positions[:, None] * rates
    cos, sin = torch.cat((angles, angles), -1).cos(), torch.cat((-angles.sin(), angles.sin()), -1)
    dtype = getattr(torch, model.dtype)
    return cos[:, None].to(device, dtype), sin[:, None].to(device, dtype)
