"""An ensemble of modules: each slot has a module of its own, over its row of the stack.

So it is exact, whatever a module does, and costs what a plain loop costs, less the optimizer, which is stacked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from grokbench.engine import data
from grokbench.engine.ensemble import EVALUATION_ROWS, Batch, Ensemble
from grokbench.models.module import fill, make, parameters, scores_of, seeds, trained
from grokbench.numerics.foreign import foreign
from grokbench.spec import ModuleSpec, Part, RunSpec
from grokbench.spec.errors import out_of_memory
from grokbench.spec.plugins import MODEL


class ModuleEnsemble(Ensemble):
    """Slots for runs with a module. Its buffers, and whatever else it keeps, are the slot's own until its run ends."""

    def _make(self, run: RunSpec, slots: int, device: torch.device, compile: bool) -> None:
        assert isinstance(run.model, ModuleSpec)
        assert not compile, "foreign code may not compile"
        self._spec, self._classes = run.model, run.task.classes
        self._questions = data.generate(run.task).tokens.to(device)
        self._slices = parameters(run.model, run.task)
        self._batch = min(run.batch, run.task.train_rows)
        self._graphs = False  # foreign code may wait for the GPU
        self._modules: list[nn.Module | None] = [None] * slots
        self._empty(run, slots, compile)

    def _begin(self, slot: int, run: RunSpec) -> None:
        module = make(self._spec, run.task, run.key).to(self._device).train()
        fill(self._weights, slot, module)
        self._modules[slot] = module
        self._bind(slot)

    @property
    def modules(self) -> list[nn.Module]:
        """Those of the runs that are loaded."""
        return [module for module in self._modules if module]

    def _bind(self, slot: int) -> None:
        """Let a module's parameters be those in the stack, which its optimizer changes."""
        module = self._modules[slot]
        for name, parameter in trained(module).items() if module else ():
            parameter.data = self._weights.views[name][slot]

    def clear(self, slot: int) -> None:
        """End the run in a slot; until another is loaded, it holds zeros."""
        super().clear(slot)
        self._modules[slot] = None
        self._gradients.flat[slot] = 0

    def select(self, slots: Sequence[int]) -> None:
        """Keep these slots alone, in this order."""
        super().select(slots)
        self._modules = [self._modules[slot] for slot in slots]
        for slot in range(len(self._modules)):
            self._bind(slot)

    def _batches(self, rows: Tensor) -> list[Batch]:
        """The full batches of these rows (E, N), in their order; a module takes its tokens itself."""
        steps = rows.shape[1] // self._batch
        own = rows[:, : steps * self._batch].reshape(self.slots, steps, self._batch)
        return [Batch(batch, self._labels.gather(1, batch), None) for batch in own.transpose(0, 1)]

    def _step(self, batch: Batch) -> Tensor:
        """One step on a batch; (E,) the losses before it."""
        self._steps += 1
        rows, labels, drawn = batch.questions, batch.labels, seeds(self._keys, self._steps)
        steps = self._steps.tolist()
        losses = torch.zeros(self.slots, dtype=self._weights.flat.dtype, device=self._device)
        for slot, module in enumerate(self._modules):
            if module:
                with foreign(MODEL, self._spec.name, drawn[slot], self._device, f"failed at step {steps[slot]}"):
                    losses[slot] = self._descend(slot, module, rows[slot], labels[slot])
        self._optimizer.step(self._gradients)
        return losses

    def _descend(self, slot: int, module: nn.Module, rows: Tensor, labels: Tensor) -> Tensor:
        """The loss of a slot on these rows (B,); its gradient goes into the stack."""
        own = trained(module)
        try:
            scores = scores_of(self._spec.name, module, self._questions[rows], self._classes)
            loss = self._loss(scores.to(self._weights.flat.dtype), labels).mean()
            gradients = torch.autograd.grad(loss, list(own.values()), allow_unused=True)
        except Exception as error:
            if out_of_memory(error) or self._weights.flat[slot].isfinite().all():
                raise
            # Foreign code may fail on these; the loss now says that the run has diverged.
            self._gradients.flat[slot] = torch.nan
            return self._weights.flat.new_tensor(torch.nan)
        for name, gradient in zip(own, gradients, strict=True):
            self._gradients.views[name][slot] = 0 if gradient is None else gradient
        return loss.detach()

    def _figures(self, chosen: list[int], part: Part, most: int | None) -> Tensor:
        rows = (self._train if part == "train" else self._validation)[:, :most]
        found = np.zeros((3, len(chosen)))
        drawn = seeds(self._keys, -1 - self._steps)
        for i, slot in enumerate(chosen):
            if module := self._modules[slot]:
                module.eval()
                with foreign(MODEL, self._spec.name, drawn[slot], self._device, "failed in its evaluation"):
                    found[:, i] = self._seen(slot, module, rows[slot], most)
                module.train()
        return torch.from_numpy(found).to(self._device)

    def _seen(self, slot: int, module: nn.Module, rows: Tensor, most: int | None) -> list[float]:
        """Accuracy, mean loss (or largest score, for some rows) and share of rows without a loss."""
        right, losses = [], []
        try:
            for own in torch.split(rows, EVALUATION_ROWS):
                answers = self._labels[slot, own]
                scores = scores_of(self._spec.name, module, self._questions[own], self._classes)
                scores = scores.to(self._weights.flat.dtype)
                right.append(scores.argmax(-1) == answers)
                losses.append(scores.abs().amax(-1) if most else self._loss(scores, answers))
        except Exception as error:
            if out_of_memory(error) or self._weights.flat[slot].isfinite().all():
                raise
            return [0.0, float("nan"), 0.0]
        every = torch.cat(losses)
        return [float(x.double().mean()) for x in (torch.cat(right), every, every == 0)]
