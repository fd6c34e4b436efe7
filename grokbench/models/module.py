"""Any `nn.Module` as a model: made from a function of its sizes and settings, its parameters laid out in a row.

A plug-in is a function (vocabulary, classes, positions, **settings) that returns a module from tokens (B, T) to scores
(B, C). Its hidden matrices, which an optimizer of matrices gets, are those that belong neither to an embedding nor to
the last layer, or those that the module names in its attribute `grokbench_hidden`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from grokbench.models.mlp import MLP
from grokbench.models.transformer import Slice, Stack, initial_row, layout, placed, row_size
from grokbench.numerics import rng
from grokbench.numerics.foreign import foreign
from grokbench.numerics.frame import numerics
from grokbench.spec import ModelSpec, ModuleSpec, TaskSpec, UsageError, choose, plugins
from grokbench.spec.errors import require
from grokbench.spec.plugins import MODEL

BUILT_IN: dict[str, Callable[..., nn.Module]] = {"mlp": MLP}
CPU = torch.device("cpu")


def seeds(keys: Tensor, at: Tensor) -> list[int]:
    """(E,) keys and steps -> for each replica, a seed of its own for torch's generator in that step."""
    drawn = rng.words(keys, rng.Stream.MODULE, at, 2)
    found: list[int] = ((drawn[:, 0] << 31) ^ drawn[:, 1]).tolist()
    return found


def make(spec: ModuleSpec, task: TaskSpec, key: int) -> nn.Module:
    """The module of the run with this key, on the processor, with initial weights from the run's own stream.

    Raises `UsageError` for what is no module, or has no parameters.
    """
    name, settings = plugins.split(MODEL, spec.name)
    function = BUILT_IN[name] if name in BUILT_IN else plugins.function(MODEL, name)
    (seed,) = seeds(rng.key_tensor(key)[None], torch.zeros(1, dtype=torch.int64))
    with foreign(MODEL, spec.name, seed, CPU, "could not be made"):
        made: Any = function(task.vocabulary, task.classes, task.positions, **settings)
    if not isinstance(made, nn.Module):
        raise UsageError(f"the model {spec.name} made a {type(made).__name__}, not a torch.nn.Module")
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in made.parameters()):
        raise UsageError(f"the model {spec.name} has parameters without a shape: make them with their sizes")
    require(any(p.requires_grad for p in made.parameters()), f"the model {spec.name} has no parameters to train")
    return made.to(CPU, getattr(torch, spec.dtype))


def trained(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name; those that are shared have their first one."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def scores_of(name: str, module: nn.Module, tokens: Tensor, classes: int) -> Tensor:
    """Scores (B, C) of these tokens (B, T). Raises `UsageError` for what is none."""
    scores: Any = module(tokens)
    wanted = (len(tokens), classes)
    if not isinstance(scores, Tensor) or scores.shape != wanted:
        what = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"type {type(scores).__name__}"
        raise UsageError(f"the model {name} gave scores of {what}, not of shape {wanted}")
    return scores


@functools.lru_cache(maxsize=64)
def parameters(model: ModelSpec | ModuleSpec, task: TaskSpec) -> tuple[Slice, ...]:
    """The parameters of one replica, hidden matrices first. A module is made for it, and scores two questions."""
    if isinstance(model, ModelSpec):
        return layout(model, task.vocabulary, task.classes)
    with numerics():
        module = make(model, task, 0).eval()
        with foreign(MODEL, model.name, 0, CPU), torch.no_grad():
            scores_of(model.name, module, torch.zeros(2, task.positions, dtype=torch.int64), task.classes)
    hidden = _hidden(model.name, module, task.classes)
    found = [(name, tuple(p.shape), name in hidden) for name, p in trained(module).items()]
    return placed(sorted(found, key=lambda parameter: not parameter[2]))


def initial(model: ModelSpec | ModuleSpec, task: TaskSpec, key: int) -> Stack:
    """The initial weights of the run with this key, as a stack of one, on the processor."""
    slices = parameters(model, task)
    if isinstance(model, ModelSpec):
        return Stack(slices, initial_row(model, slices, key)[None])
    stack = Stack(slices, torch.zeros(1, row_size(slices), dtype=getattr(torch, model.dtype)))
    fill(stack, 0, make(model, task, key))
    return stack


def fill(stack: Stack, slot: int, module: nn.Module) -> None:
    """Take a module's parameters as those of a slot."""
    stack.flat[slot] = 0
    for name, parameter in trained(module).items():
        stack.views[name][slot] = parameter.detach()


def _hidden(name: str, module: nn.Module, classes: int) -> set[str]:
    """Names of the hidden matrices."""
    own = trained(module)
    declared = getattr(module, "grokbench_hidden", None)
    if declared is not None:
        for parameter in declared:
            choose(f"parameter of {name} in grokbench_hidden", str(parameter), tuple(own))
            shape = tuple(own[parameter].shape)
            require(len(shape) == 2, f"{parameter} of {name} is in grokbench_hidden, but no matrix: {shape}")
        return set(declared)
    embedded: set[int] = set()
    others: list[nn.Parameter] = []  # matrices that are used elsewhere, in their order
    for part in module.modules():
        matrices = [p for p in part.parameters(recurse=False) if p.ndim == 2]
        if isinstance(part, nn.Embedding | nn.EmbeddingBag):
            embedded |= set(map(id, matrices))
        else:
            others += matrices
    # The last layer gives the scores, so a side of its matrix is as long as there are classes.
    last = [p for p in others if classes in p.shape] or others
    ends = embedded | {id(p) for p in last[-1:]}
    return {parameter for parameter, p in own.items() if p.ndim == 2 and id(p) not in ends}
