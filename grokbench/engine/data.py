"""A task's rows as tensors, and their division into training and validation.

Shapes: N rows, T tokens, E replicas.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from grokbench.numerics import rng
from grokbench.spec import TaskSpec
from grokbench.tasks import names


class TaskData(NamedTuple):
    """tokens: (N, T) int64, the token's integer is its row in the learned table. labels: (N,) int64."""

    tokens: Tensor
    labels: Tensor


def generate(spec: TaskSpec) -> TaskData:
    """Every question of a task, in a fixed order, with its answer."""
    table = names.table(spec)
    return TaskData(torch.from_numpy(table.questions), torch.from_numpy(table.answers))


def split(spec: TaskSpec, keys: Tensor) -> tuple[Tensor, Tensor]:
    """(E, train rows) and (E, validation rows): row numbers of each replica's two sets."""
    order = rng.permutation(keys, rng.Stream.SPLIT, torch.zeros_like(keys), spec.rows)
    return order[:, : spec.train_rows], order[:, spec.train_rows :]
