"""Softmaxes by name, built in or plugged in.

A plug-in is an object with `probabilities(z)`, scores z (..., C) to the simplex (..., C), and `loss(z, labels)`, scores
(..., C) and labels (...) to one loss a row (...); or a class or function that makes one from the settings.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from grokbench.numerics.foreign import foreign
from grokbench.softmaxes.table import SOFTMAX, Softmax
from grokbench.spec import UsageError, plugins

_LINES = 32  # rows of a probe; so many fill whole cache lines, however many classes there are


def named(text: str) -> Softmax:
    """The softmax of this name. Raises `UsageError` for a plug-in that is none."""
    return SOFTMAX[text] if text in SOFTMAX else _plugged(text)


@functools.cache
def _plugged(text: str) -> Softmax:
    name, given = plugins.split(plugins.SOFTMAX, text)
    value = plugins.load(plugins.SOFTMAX, name)
    if inspect.isclass(value) or not _complete(value):
        value = plugins.function(plugins.SOFTMAX, name)
        with plugins.blamed(plugins.SOFTMAX, text, "could not be made"):
            value = value(**given)
        if not _complete(value):
            raise UsageError(f"the softmax {text} is a {type(value).__name__} without `probabilities` and `loss`")
    elif given:
        raise UsageError(f"the softmax {name} takes no settings, and not {', '.join(given)}")
    return Softmax(_Guarded(text, value.probabilities), _Loss(text, value.loss))


def stacked(text: str, classes: int) -> bool:
    """Whether the scores of all replicas go through its loss at once, in float32 on a processor."""
    loss = named(text).loss
    return not isinstance(loss, _Loss) or loss.stacks(classes, torch.float32, torch.device("cpu"))


def _complete(value: object) -> bool:
    return all(callable(getattr(value, part, None)) for part in Softmax._fields)


class _Guarded:
    """A foreign function of tensors: what it does wrong is a `UsageError`, and it draws the same numbers every time."""

    def __init__(self, text: str, function: Callable[..., Any]) -> None:
        self._text, self._function = text, function

    def __call__(self, scores: Tensor) -> Tensor:
        return self._called(scores.shape, scores)

    def _called(self, shape: torch.Size, *arguments: Tensor) -> Tensor:
        """Its result. Raises `UsageError` if that has another shape."""
        with foreign(plugins.SOFTMAX, self._text, 0, arguments[0].device):
            out = self._function(*arguments)
        if not isinstance(out, Tensor) or out.shape != shape:
            what = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"type {type(out).__name__}"
            raise UsageError(f"the softmax {self._text} gave a result of {what}, not of shape {tuple(shape)}")
        return out


class _Loss(_Guarded):
    """A foreign loss. Stacked scores (E, R, C) go through it at once if that gives the same bits as one by one."""

    def __init__(self, text: str, function: Callable[..., Any]) -> None:
        super().__init__(text, function)
        self._stacks: dict[tuple[Any, ...], bool] = {}

    def __call__(self, scores: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        if scores.ndim < 3 or self.stacks(scores.shape[-1], scores.dtype, scores.device):
            return self._called(labels.shape, scores, labels)
        return torch.stack([self(own, answers) for own, answers in zip(scores, labels, strict=True)])

    def stacks(self, classes: int, dtype: torch.dtype, device: torch.device) -> bool:
        """Whether it takes any leading dimensions, and treats every replica as if it were alone."""
        key = classes, dtype, device
        if key not in self._stacks:
            self._stacks[key] = self._probe(*key)
        return self._stacks[key]

    def _probe(self, classes: int, dtype: torch.dtype, device: torch.device) -> bool:
        generator = torch.Generator().manual_seed(0)
        scores = 4 * torch.randn(3, _LINES, classes, generator=generator)
        labels = torch.randint(classes, (3, _LINES), generator=generator).to(device)
        scores = scores.to(device, dtype)
        alone = [self._slope(own, answers) for own, answers in zip(scores, labels, strict=True)]
        try:
            together = self._slope(scores, labels)
        except UsageError:  # it is written for rows alone
            return False
        parts = zip(zip(*together, strict=True), alone, strict=True)
        return all(torch.equal(a, b) for mine, own in parts for a, b in zip(mine, own, strict=True))

    def _slope(self, scores: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The losses and their gradient."""
        leaf = scores.clone().requires_grad_()
        with torch.enable_grad():
            losses = self._called(labels.shape, leaf, labels)
            with foreign(plugins.SOFTMAX, self._text, 0, scores.device):
                (slope,) = torch.autograd.grad(losses.sum(), leaf)
        return losses.detach(), slope
