"""An ensemble of modules that compute all at once, by `torch.func.vmap`.

It is for modules whose forward pass is a function of their parameters, their constants and the tokens alone, which they
declare by `grokbench_stacked = True`. `kinds` looks for signs that it is not so.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from grokbench.engine.ensemble import EVALUATION_ROWS, Batch, padded
from grokbench.engine.modules import ModuleEnsemble
from grokbench.models.module import fill, make
from grokbench.numerics.foreign import foreign
from grokbench.spec import ModuleSpec, Part, RunSpec, UsageError
from grokbench.spec.plugins import MODEL


def constants(module: nn.Module) -> dict[str, Tensor]:
    """What is a module's own and is not trained: its buffers, and parameters that want no gradient."""
    frozen = {name: p.detach() for name, p in module.named_parameters() if not p.requires_grad}
    return {**dict(module.named_buffers()), **frozen}


def rest(module: nn.Module) -> bytes:
    """All that a module holds besides the values of its parameters and buffers. Raises what pickle raises."""
    tensors = [*module.parameters(), *module.buffers()]
    bare = copy.deepcopy(module, {id(tensor): "a tensor" for tensor in tensors})  # which are not copied
    kinds = [(name, tuple(x.shape), str(x.dtype)) for name, x in constants(module).items()]
    return pickle.dumps((bare.train(), kinds))


class VmappedEnsemble(ModuleEnsemble):
    """Slots for runs with a module, of which one stands for all: each slot has its weights and constants as a row."""

    compiler = "torch.func.vmap"

    def _make(self, run: RunSpec, slots: int, device: torch.device, compile: bool) -> None:
        super()._make(run, slots, device, compile)
        assert isinstance(run.model, ModuleSpec)
        self._module = make(run.model, run.task, 0).to(device).train()
        self._kept = rest(self._module)
        # A vacant slot has the constants of this module, since zeros might make it fail.
        own = constants(self._module).items()
        self._constants = {name: value.expand(slots, *value.shape).clone() for name, value in own}
        self._vacant = torch.ones(slots, 1, dtype=torch.bool, device=device)

    def _begin(self, slot: int, run: RunSpec) -> None:
        module = make(self._spec, run.task, run.key)
        if rest(module) != self._kept:
            raise UsageError(
                f"the model {self._spec.name} declares grokbench_stacked, but its replicas differ in more than the "
                "values of parameters and buffers"
            )
        fill(self._weights, slot, module)
        for name, value in constants(module).items():
            self._constants[name][slot] = value
        self._vacant[slot] = False

    def clear(self, slot: int) -> None:
        """End the run in a slot; until another is loaded, its weights are zeros."""
        super().clear(slot)
        for name, value in constants(self._module).items():
            self._constants[name][slot] = value
        self._vacant[slot] = True

    def select(self, slots: Sequence[int]) -> None:
        """Keep these slots alone, in this order."""
        super().select(slots)
        kept = list(slots)
        self._constants = {name: rows[kept] for name, rows in self._constants.items()}
        self._vacant = self._vacant[kept]

    @contextmanager
    def _blamed(self, when: str) -> Iterator[None]:
        """What goes wrong is the model's fault. It draws no random numbers, so any seed will do."""
        with foreign(MODEL, self._spec.name, 0, self._device, when):
            yield

    def _scores(self, weights: dict[str, Tensor], fixed: dict[str, Tensor], rows: Tensor) -> Tensor:
        """Scores (E, B, C) of these rows (E, B), by weights and constants that have a row a slot."""

        def one(weights: dict[str, Tensor], fixed: dict[str, Tensor], tokens: Tensor) -> Tensor:
            given = {**weights, **fixed}
            found: Tensor = functional_call(self._module, given, (tokens,))
            if changed := [name for name, value in fixed.items() if given[name] is not value]:
                what = f"declares grokbench_stacked, but puts another tensor in place of its buffer {changed[0]}"
                raise UsageError(f"the model {self._spec.name} {what}")
            return found

        found: Tensor = vmap(one, randomness="error")(weights, fixed, self._questions[rows])
        wanted = (*rows.shape, self._classes)
        if found.shape != wanted:
            shapes = f"{tuple(found.shape[1:])}, not of shape {wanted[1:]}"
            raise UsageError(f"the model {self._spec.name} gave scores of shape {shapes}")
        return found.to(self._weights.flat.dtype)

    def _step(self, batch: Batch) -> Tensor:
        """One step on a batch; (E,) the losses before it."""
        self._steps += 1
        leaves = {name: view.detach().requires_grad_() for name, view in self._weights.views.items()}
        with self._blamed("failed in a step"):
            losses = self._loss(self._scores(leaves, self._constants, batch.questions), batch.labels).mean(1)
            found = torch.autograd.grad(losses, list(leaves.values()), self._ones, allow_unused=True)
        for name, gradient in zip(leaves, found, strict=True):
            if gradient is not None:
                self._gradients.views[name].copy_(gradient)
        self._gradients.flat.masked_fill_(self._vacant, 0)
        self._optimizer.step(self._gradients)
        return losses.detach()

    def _figures(self, chosen: list[int], part: Part, most: int | None) -> Tensor:
        every = len(chosen) == self.slots
        rows = (self._train if part == "train" else self._validation)[:, :most]
        rows, labels = (x if every else x[chosen] for x in (rows, self._labels))
        weights, fixed = (
            {name: x if every else x[chosen] for name, x in own.items()}
            for own in (self._weights.views, self._constants)
        )
        # Rows that fill whole cache lines, since the slices of a product should; the last ones are dropped again.
        count = rows.shape[1]
        rows = torch.cat((rows, rows[:, :1].expand(-1, padded(count) - count)), 1)
        right, losses = [], []
        self._module.eval()
        with self._blamed("failed in its evaluation"):
            for own in torch.split(rows, EVALUATION_ROWS, 1):
                answers = labels.gather(1, own)
                scores = self._scores(weights, fixed, own)
                right.append(scores.argmax(-1) == answers)
                losses.append(scores.abs().amax(-1) if most else self._loss(scores, answers))
        self._module.train()
        hits, loss = (torch.cat(x, 1)[:, :count] for x in (right, losses))
        return torch.stack([x.double().mean(1) for x in (hits, loss, loss == 0)])
