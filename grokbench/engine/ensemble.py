"""E slots, one batched program: train, evaluate, load and select replicas of runs of one shape.

Nothing that one slot computes depends on another slot, on the slot's number or on how many slots there are:
every product is one slice of a batched product, every slot's data begin on a cache line, element-wise functions
round each element alike wherever it lies, and all of it is computed in one thread (see `frame`). So a run's record is
bit-identical alone and in company.

Shapes: E replicas, Q questions of a task, B rows of a batch (R with padding), T tokens, C classes, P parameters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray
from torch import Tensor

from grokbench.engine import data
from grokbench.engine.measured import PARTS, Evaluation, Measured, advanced, measured
from grokbench.models.prefixes import Lookups, Plan
from grokbench.models.transformer import Slice, Stack, forward, initial_row, layout, operands, row_size
from grokbench.numerics import rng
from grokbench.numerics.compiled import compiled
from grokbench.numerics.frame import numerics
from grokbench.numerics.graphs import Recorded
from grokbench.numerics.kernels.choice import wanted
from grokbench.optim.stack import Optimizer, family
from grokbench.records.grok import Diagnostics
from grokbench.softmaxes import named
from grokbench.spec import ALIGNMENT, Part, RunSpec

EVALUATION_ROWS = 1024  # a chunk's activations should stay in the processor's cache
_LINES = 2 * ALIGNMENT

_Method = TypeVar("_Method", bound=Callable[..., Any])


def _framed(method: _Method) -> _Method:
    """Run a method under torch's numerics as the engine needs them."""

    @functools.wraps(method)
    def inside(ensemble: Ensemble, *arguments: Any, **settings: Any) -> Any:
        with numerics(ensemble._threads):
            return method(ensemble, *arguments, **settings)

    return inside  # type: ignore[return-value]


def shape(run: RunSpec) -> Hashable:
    """Runs with equal shapes can share an ensemble."""
    data = (run.task.questions, run.task.train_rows, run.batch)
    return (data, run.softmax, run.model, family(run.optimizer))


class Batch(NamedTuple):
    """What one step trains on: the numbers of the questions and their labels (E, R), and what they look up."""

    questions: Tensor
    labels: Tensor
    lookups: Lookups | None  # a compiled step finds these itself


class Ensemble:
    """Slots for runs of the shape of `run`, all empty at first. compile: compile the step; slots stay as many.

    threads: on a processor. With more than one, for timing alone, bits may depend on the number of slots.
    graphs: on CUDA, launch an epoch as one recorded graph, where the optimizer waits for nothing within it.
    """

    compiler: str | None = None  # what all slots go through at once, if it rounds otherwise than the eager step

    def __init__(
        self,
        run: RunSpec,
        slots: int,
        device: torch.device,
        *,
        compile: bool = False,
        threads: int = 1,
        graphs: bool = True,
    ) -> None:
        self._threads, self._compile = threads, compile
        self._graphs = graphs and run.softmax_source is None  # foreign code may wait for the GPU
        self._loss, self._device = named(run.softmax).loss, device
        with numerics(threads):
            self._make(run, slots, device, compile)

    def _make(self, run: RunSpec, slots: int, device: torch.device, compile: bool) -> None:
        self._model = run.transformer
        spec = run.task
        self._questions = data.generate(spec).tokens  # of every run of this shape
        self._vocabulary = spec.vocabulary
        self._slices = layout(self._model, spec.vocabulary, spec.classes)
        self._pieces = operands(self._slices)
        self._batch = min(run.batch, spec.train_rows)
        dtype = getattr(torch, self._model.dtype)
        # The share of each row in the loss; rows that fill the batch up to whole cache lines have none.
        self._share = torch.zeros(padded(self._batch), dtype=dtype, device=device)
        self._share[: self._batch] = 1 / self._batch
        self._plan = self._plan_for(len(self._share), dropout=bool(self._model.dropout))
        self._plans: dict[int, Plan] = {}  # for evaluation, by the rows of a chunk
        self._empty(run, slots, compile)
        self._losses = self._loss_function()
        if compile:
            key = (spec.questions, self._batch, run.softmax, run.model, slots, device)
            self._losses = compiled(key, self._losses)

    def _empty(self, run: RunSpec, slots: int, compile: bool) -> None:
        """Slots without runs, for parameters as in `_slices`."""
        spec, device = run.task, self._device
        self._recorded: dict[Hashable, Recorded] = {}

        def integers(*size: int) -> Tensor:
            return torch.zeros(slots, *size, dtype=torch.int64, device=device)

        self._keys, self._epochs, self._steps = integers(), integers(), integers()
        self._labels = integers(spec.rows)
        self._train, self._validation = integers(spec.train_rows), integers(spec.rows - spec.train_rows)
        dtype = getattr(torch, run.model.dtype)
        self._stack(torch.zeros(slots, row_size(self._slices), dtype=dtype, device=device))
        self._optimizer = Optimizer(run.optimizer, self._weights, compile=compile)

    def _plan_for(self, rows: int, *, dropout: bool) -> Plan:
        return Plan(self._model, self._questions, rows, self._device, dropout=dropout)

    def _stack(self, weights: Tensor) -> None:
        """Take these weights (E, P) as the slots' own."""
        self._weights = Stack(self._slices, weights)
        self._gradients = Stack(self._slices, torch.zeros_like(weights))
        self._before = torch.zeros_like(weights)  # the latest step
        self._ones = weights.new_ones(len(weights))

    @property
    def slots(self) -> int:
        return len(self._keys)

    @property
    def on_gpu(self) -> bool:
        return self._device.type == "cuda"

    @_framed
    def load(self, slot: int, run: RunSpec) -> None:
        """Begin a run in a slot; whatever was there is gone."""
        key = rng.key_tensor(run.key)[None]
        train, validation = data.split(run.task, key)
        self._keys[slot], self._epochs[slot], self._steps[slot] = key[0], 0, 0
        self._labels[slot] = data.generate(run.task).labels
        self._train[slot], self._validation[slot] = train[0], validation[0]
        self._begin(slot, run)
        self._optimizer.load(slot, run)

    def _begin(self, slot: int, run: RunSpec) -> None:
        """Take a run's initial weights."""
        self._weights.flat[slot] = initial_row(self._model, self._slices, run.key).to(self._weights.flat)

    def clear(self, slot: int) -> None:
        """End the run in a slot; until another is loaded, it holds zeros."""
        self._weights.flat[slot] = 0
        self._optimizer.clear(slot)

    @_framed
    def select(self, slots: Sequence[int]) -> None:
        """Keep these slots alone, in this order."""
        kept = list(slots)
        for name in ("_keys", "_epochs", "_steps", "_labels", "_train", "_validation"):
            setattr(self, name, getattr(self, name)[kept])
        self._recorded = {}  # of tensors that are gone
        self._stack(self._weights.flat[kept])
        self._optimizer.select(kept, self._weights)

    def weights(self, slot: int) -> dict[str, Tensor]:
        """Copies of the named parameters in a slot, as an `nn.Module` would hold them to be evaluated."""
        with self._optimizer.evaluating([slot]):
            return {name: view[slot].clone() for name, view in self._weights.views.items()}

    def diverge(self, slot: int) -> None:
        """Spoil the weights in a slot, to try what becomes of the others."""
        self._weights.flat[slot] = torch.nan

    @property
    def gradients(self) -> Tensor:
        """A copy (E, P) of those of the latest step."""
        return self._gradients.flat.clone()

    def epoch(self) -> Evaluation:
        """Train every slot for one epoch, then evaluate it on all rows of its task."""
        losses = self.train()
        return self.evaluate(losses)

    @_framed
    def train(self) -> Tensor:
        """One epoch of steps; (E,) the mean loss over them, before each step."""
        return self._launch("train", self._train_epoch)

    def advance(self, most: int) -> tuple[NDArray[np.float64], dict[Part, Measured]]:
        """`train`, then `measure` every slot on the first `most` rows of each part, for which a GPU waits once."""
        return advanced(self.launch(most), most)

    @_framed
    @torch.no_grad()
    def launch(self, most: int) -> Tensor:
        """Begin to `advance`, and wait for nothing; what it will have given is for `measured.advanced`."""

        def action() -> Tensor:
            with torch.enable_grad():
                losses = self._train_epoch()
            with self._optimizer.evaluating(range(self.slots)):
                seen = [self._figures(list(range(self.slots)), part, most) for part in PARTS]
            return torch.cat([losses.double()[None], *seen])

        return self._launch(("advance", most), action)

    def _launch(self, key: Hashable, action: Callable[[], Tensor]) -> Tensor:
        """What an action on the slots' own tensors gives; on CUDA as a recorded graph."""
        if not (self.on_gpu and self._graphs and self._optimizer.recordable):
            return action()
        return self._recorded.setdefault(key, Recorded(action))()

    def _train_epoch(self) -> Tensor:
        order = rng.permutation(self._keys, rng.Stream.ORDER, self._epochs, self._train.shape[1])
        batches = self._batches(self._train.gather(1, order))
        total = torch.zeros(self.slots, dtype=self._weights.flat.dtype, device=self._device)
        for i, batch in enumerate(batches):
            if i == len(batches) - 1:
                self._before.copy_(self._weights.flat)
            total += self._step(batch)
        self._epochs += 1
        return total / len(batches)

    def _batches(self, rows: Tensor) -> list[Batch]:
        """The full batches of these rows (E, N), in their order."""
        steps = rows.shape[1] // self._batch
        own = rows[:, : steps * self._batch].reshape(self.slots, steps, self._batch)
        filled = torch.cat((own, own[:, :, :1].expand(-1, -1, len(self._share) - self._batch)), 2)  # (E, S, R)
        labels = self._labels.gather(1, filled.flatten(1)).view_as(filled)
        questions, labels = (x.transpose(0, 1).contiguous() for x in (filled, labels))
        found = [None] * steps if self._compile else self._look_up(self._plan, questions.flatten(0, 1), self.slots)
        return [Batch(*step) for step in zip(questions, labels, found, strict=True)]

    def _look_up(self, plan: Plan, questions: Tensor, replicas: int) -> list[Lookups]:
        return plan.lookups(questions, replicas, self._vocabulary)

    def _step(self, batch: Batch) -> Tensor:
        """One step on a batch; (E,) the losses before it."""
        leaves = [view.requires_grad_() for view in Stack(self._pieces, self._weights.flat).views.values()]
        losses = self._losses(leaves, *batch, self._keys, self._steps)
        gradients = torch.autograd.grad(losses, leaves, self._ones)
        torch.cat([g.flatten(1) for g in gradients], 1, out=self._gradients.flat)
        self._optimizer.step(self._gradients)
        self._steps += 1
        return losses.detach()

    def _loss_function(self) -> Callable[..., Tensor]:
        """From weights, questions and labels (E, R), lookups, keys and steps (E,) to the losses (E,)."""
        model, plan, loss, share, vocabulary = self._model, self._plan, self._loss, self._share, self._vocabulary
        names = [piece.name for piece in self._pieces]

        def losses(
            leaves: list[Tensor],
            questions: Tensor,
            labels: Tensor,
            lookups: Lookups | None,
            keys: Tensor,
            steps: Tensor,
        ) -> Tensor:
            def dropout(x: Tensor, branch: int) -> Tensor:
                """Zero units of x (E, N, D) at the model's rate, and scale up the others.

                The bits are dealt out row by row, and to the positions within a row.
                """
                keep = rng.keep_mask(keys, steps, branch, x.shape[1] * x.shape[2], model.dropout)
                keep = keep.view(len(x), len(share), -1, x.shape[2]).transpose(1, 2).flatten(1, 2)
                return x * keep / (1 - model.dropout)

            weights = dict(zip(names, leaves, strict=True))
            if lookups is None:
                (lookups,) = plan.lookups(questions, len(questions), vocabulary)
            scores = forward(model, weights, lookups, dropout if model.dropout else None)
            rows = loss(scores, labels)
            return torch.mv(rows, share) if wanted(rows) else _sum(rows * share)

        return losses

    def evaluate(self, running: Tensor) -> Evaluation:
        """Evaluate every slot on all rows of its task; `running` (E,) are its losses while training."""
        train, validation = (self.measure(range(self.slots), part) for part in ("train", "validation"))
        finite = np.isfinite(running.double().cpu().numpy()) & train.finite & validation.finite
        return Evaluation(train.accuracy, validation.accuracy, train.loss, validation.loss, finite)

    @_framed
    @torch.no_grad()
    def diagnose(self, slot: int, epoch: int) -> Diagnostics:
        """The state of the run in a slot, whatever its company."""
        change = (self._weights.flat[slot] - self._before[slot]).double()
        with self._optimizer.evaluating([slot]):
            row = self._weights.flat[slot].clone()
        hidden, rest = ([s for s in self._slices if s.hidden == kind] for kind in (True, False))
        largest, ranks = 0.0, []
        for s in hidden:
            matrix = row[s.offset : s.offset + s.size].view(s.shape).double()
            if not matrix.isfinite().all():
                largest, ranks = float("nan"), [float("nan")]
                break
            values = torch.linalg.svdvals(matrix)
            share = values / values.sum().clamp(min=torch.finfo(torch.float64).tiny)
            ranks.append(float(torch.special.entr(share).sum().exp()))
            largest = max(largest, float(values[0]))
        return Diagnostics(
            epoch=epoch,
            spectral_norm=largest,
            effective_rank=float(np.mean(ranks)) if ranks else float("nan"),
            weight_norm=float(row.double().norm()),
            collapsed=float(self.measure([slot], "train").zero[0]),
            update_hidden=_size(change, hidden),
            update_rest=_size(change, rest),
        )

    @_framed
    @torch.no_grad()
    def measure(self, slots: Sequence[int], part: Part, most: int | None = None) -> Measured:
        """These slots on their rows of a part, or on the first `most` of them, and then without a loss."""
        chosen = list(slots)
        if self.on_gpu and len(chosen) < self.slots:  # there, bits depend on the number of slots
            return self.measure(range(self.slots), part, most).of(chosen)
        with self._optimizer.evaluating(chosen):
            figures = self._launch(("measure", part, most), lambda: self._figures(chosen, part, most))
        return measured(figures.cpu().numpy(), most)

    def _figures(self, chosen: list[int], part: Part, most: int | None) -> Tensor:
        """(3, E) float64: accuracy, mean loss (or score, for some rows) and share of rows without a loss."""
        tensors = self._train if part == "train" else self._validation, self._labels, self._weights.flat
        # An index on the processor would have to be moved, for which a graph cannot wait.
        rows, labels, flat = tensors if len(chosen) == self.slots else (tensor[chosen] for tensor in tensors)
        rows, weights = rows[:, :most], Stack(self._pieces, flat).views
        count = rows.shape[1]
        chunk = padded(-(-count // -(-count // EVALUATION_ROWS)))
        if chunk not in self._plans:
            self._plans[chunk] = self._plan_for(chunk, dropout=False)
        right, losses = [], []
        for start in range(0, count, chunk):
            own = rows[:, start : start + chunk]
            filled = torch.cat((own, own[:, :1].expand(-1, chunk - own.shape[1])), 1)
            answers = labels.gather(1, filled)
            (lookups,) = self._look_up(self._plans[chunk], filled, len(chosen))
            scores = forward(self._model, weights, lookups)
            right.append((scores.argmax(-1) == answers)[:, : own.shape[1]])
            row_losses = scores.abs().amax(-1) if most else self._loss(scores, answers)
            losses.append(row_losses[:, : own.shape[1]])
        loss_rows = torch.cat(losses, 1)
        return torch.stack([_sum(x.double()) / count for x in (torch.cat(right, 1), loss_rows, loss_rows == 0)])


def _size(row: Tensor, slices: Sequence[Slice]) -> float:
    """Root mean square of these parameters in a row, NaN if there are none."""
    parts = [row[s.offset : s.offset + s.size] for s in slices]
    return float(torch.cat(parts).square().mean().sqrt()) if parts else float("nan")


def padded(rows: int) -> int:
    """Rows that fill whole cache lines."""
    return -(-rows // _LINES) * _LINES


def _sum(x: Tensor) -> Tensor:
    """(E, n) -> (E,), in two sums: torch divides a large single one among its threads, which changes its bits."""
    width = 1024
    return functional.pad(x, (0, -x.shape[1] % width)).view(len(x), -1, width).sum(2).sum(1)
