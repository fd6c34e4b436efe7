"""E slots, one batched program: train, evaluate, load and select replicas of runs of one shape.

Nothing that one slot computes depends on another slot, on the slot's number or on how many slots there are:
every product is one slice of a batched product, every slot's data begin on a cache line, and element-wise
functions round each element alike wherever it lies. So a run's record is bit-identical alone and in company.

Shapes: E replicas, N rows of a task, B rows of a batch (R with padding), T tokens, C classes, P parameters.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from grokbench import rng, tasks
from grokbench.optim.stacked import Optimizer, family
from grokbench.softmax import SOFTMAX
from grokbench.spec import ALIGNMENT, RunSpec
from grokbench.transformer import Stack, forward, initial_row, layout, row_size

EVALUATION_ROWS = 1024  # a chunk's activations should stay in the processor's cache
_LINES = 2 * ALIGNMENT


def shape(run: RunSpec) -> Hashable:
    """Runs with equal shapes can share an ensemble."""
    t = run.task
    data = (t.vocabulary, t.classes, t.positions, t.rows, t.train_rows, run.batch)
    return (data, run.softmax, run.model, family(run.optimizer))


class Evaluation(NamedTuple):
    """Arrays (E,) of all slots after an epoch. `finite` is False where a loss left the finite numbers."""

    train_accuracy: NDArray[np.float64]
    validation_accuracy: NDArray[np.float64]
    train_loss: NDArray[np.float64]
    validation_loss: NDArray[np.float64]
    finite: NDArray[np.bool_]


class Ensemble:
    """Slots for runs of the shape of `run`, all empty at first."""

    def __init__(self, run: RunSpec, slots: int, device: torch.device) -> None:
        self._model, self._loss = run.model, SOFTMAX[run.softmax].loss
        spec = run.task
        self._slices = layout(run.model, spec.vocabulary, spec.classes)
        self._batch = min(run.batch, spec.train_rows)
        dtype = getattr(torch, run.model.dtype)
        # The share of each row in the loss; rows that fill the batch up to whole cache lines have none.
        self._share = torch.zeros(-(-self._batch // _LINES) * _LINES, dtype=dtype, device=device)
        self._share[: self._batch] = 1 / self._batch

        def integers(*size: int) -> Tensor:
            return torch.zeros(slots, *size, dtype=torch.int64, device=device)

        self._keys, self._epochs, self._steps = integers(), integers(), integers()
        self._tokens, self._labels = integers(spec.rows, spec.positions), integers(spec.rows)
        self._train, self._is_train = integers(spec.train_rows), integers(spec.rows).bool()
        self._weights = Stack(self._slices, torch.zeros(slots, row_size(self._slices), dtype=dtype, device=device))
        self._optimizer = Optimizer(run.optimizer, self._weights)
        self._gradients = Stack(self._slices, torch.zeros_like(self._weights.flat))

    @property
    def slots(self) -> int:
        return len(self._keys)

    def load(self, slot: int, run: RunSpec) -> None:
        """Begin a run in a slot; whatever was there is gone."""
        key = rng.key_tensor(run.key)[None]
        data = tasks.generate(run.task)
        train = tasks.train_rows(run.task, key)[0]
        self._keys[slot], self._epochs[slot], self._steps[slot] = key[0], 0, 0
        self._tokens[slot], self._labels[slot] = data.tokens, data.labels
        self._train[slot], self._is_train[slot] = train, False
        self._is_train[slot, train.to(self._keys.device)] = True
        self._weights.flat[slot] = initial_row(self._model, self._slices, run.key).to(self._weights.flat)
        self._optimizer.load(slot, run)

    def select(self, slots: Sequence[int]) -> None:
        """Keep these slots alone, in this order."""
        kept = list(slots)
        for name in ("_keys", "_epochs", "_steps", "_tokens", "_labels", "_train", "_is_train"):
            setattr(self, name, getattr(self, name)[kept])
        self._weights = Stack(self._slices, self._weights.flat[kept])
        self._gradients = Stack(self._slices, torch.zeros_like(self._weights.flat))
        self._optimizer.select(kept, self._weights)

    def weights(self, slot: int) -> dict[str, Tensor]:
        """Copies of the named parameters in a slot, as an `nn.Module` would hold them."""
        return {name: view[slot].clone() for name, view in self._weights.views.items()}

    def epoch(self) -> Evaluation:
        """Train every slot for one epoch, then evaluate it on all rows of its task."""
        losses = self.train()
        return self.evaluate(losses)

    def train(self) -> Tensor:
        """One epoch of steps; (E,) the mean loss over them, before each step."""
        order = rng.permutation(self._keys, rng.Stream.ORDER, self._epochs, self._train.shape[1])
        order = self._train.gather(1, order)
        steps = order.shape[1] // self._batch
        total = torch.zeros(self.slots, dtype=self._weights.flat.dtype, device=self._keys.device)
        for i in range(steps):
            total += self._step(order[:, i * self._batch : (i + 1) * self._batch])
        self._epochs += 1
        return total / steps

    def _step(self, rows: Tensor) -> Tensor:
        """One step on these rows (E, B); (E,) the losses before it."""
        rows = torch.cat((rows, rows[:, :1].expand(-1, len(self._share) - self._batch)), 1)  # (E, R)
        tokens, labels = self._take(rows)
        leaves = {name: view.detach().requires_grad_() for name, view in self._weights.views.items()}
        scores = forward(self._model, leaves, tokens, self._dropout if self._model.dropout else None)
        losses = _sum(self._loss(scores, labels) * self._share)
        gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
        for name, gradient in zip(leaves, gradients, strict=True):
            self._gradients.views[name].copy_(gradient)
        self._optimizer.step(self._gradients)
        self._steps += 1
        return losses.detach()

    def _take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (E, R, T) and labels (E, R) of rows (E, R)."""
        slot = torch.arange(self.slots, device=rows.device)[:, None]
        return self._tokens[slot, rows], self._labels[slot, rows]

    def _dropout(self, x: Tensor, branch: int) -> Tensor:
        """x (E, ...) with units zeroed at the model's rate, and the others scaled up."""
        rate = self._model.dropout
        keep = rng.keep_mask(self._keys, self._steps, branch, x[0].numel(), rate)
        return x * keep.view(x.shape) / (1 - rate)

    @torch.no_grad()
    def evaluate(self, running: Tensor) -> Evaluation:
        """Evaluate every slot on all rows of its task; `running` (E,) are its losses while training."""
        count = self._labels.shape[1]
        right, losses = [], []
        for start in range(0, count, EVALUATION_ROWS):
            rows = torch.arange(start, min(start + EVALUATION_ROWS, count), device=self._keys.device)
            padding = -len(rows) % _LINES
            padded = torch.cat((rows, rows[:1].expand(padding))).expand(self.slots, -1)
            tokens, labels = self._take(padded)
            scores = forward(self._model, self._weights.views, tokens)
            right.append((scores.argmax(-1) == labels)[:, : len(rows)])
            losses.append(self._loss(scores, labels)[:, : len(rows)])
        correct, loss = torch.cat(right, 1).double(), torch.cat(losses, 1).double()
        figures = [running.double()]
        for part in (self._is_train, ~self._is_train):
            for values in (correct, loss):  # NaN must not leak from one part into the other
                figures.append(_sum(torch.where(part, values, 0)) / part.sum(1))
        running_loss, train, train_loss, validation, validation_loss = torch.stack(figures).cpu().numpy()
        finite = np.isfinite(running_loss) & np.isfinite(train_loss) & np.isfinite(validation_loss)
        return Evaluation(train, validation, train_loss, validation_loss, finite)


def _sum(x: Tensor) -> Tensor:
    """(E, n) -> (E,), in two sums: torch divides a large single one among its threads, which changes its bits."""
    width = 1024
    return functional.pad(x, (0, -x.shape[1] % width)).view(len(x), -1, width).sum(2).sum(1)
