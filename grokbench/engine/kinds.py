"""Which kind of ensemble trains a run: the built-in transformer's, or that of any module, all at once or one by one.

Modules are trained all at once only where a trial finds that this changes nothing but the rounding, and that no slot's
bits depend on the others. The trial follows from the run's spec and the machine alone, as the bits do.
"""

from __future__ import annotations

import copy
import functools
import pickle
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from grokbench.engine.ensemble import Ensemble
from grokbench.engine.modules import ModuleEnsemble
from grokbench.engine.vmapped import VmappedEnsemble, constants
from grokbench.models.module import make
from grokbench.spec import ModuleSpec, RunSpec, registry

REPLICAS, EPOCHS = 5, 3  # of the trial
PRODUCTS = (torch.ops.aten.bmm, torch.ops.aten.baddbmm)
LINE = 64  # bytes of a processor's cache line
CLOSE = 1e-3  # how far a trial's weights may be from those of modules one by one, as a share of their way


def ensemble(
    run: RunSpec,
    slots: int,
    device: torch.device,
    *,
    compile: bool = False,
    threads: int = 1,
    graphs: bool = True,
) -> Ensemble:
    """Empty slots for runs of the shape of `run`, whatever its model; for the rest see `Ensemble`."""
    kind = Ensemble
    if isinstance(run.model, ModuleSpec):
        kind = ModuleEnsemble if obstacle(run, device) else VmappedEnsemble
    return kind(run, slots, device, compile=compile, threads=threads, graphs=graphs)


def obstacle(run: RunSpec, device: torch.device) -> str | None:
    """Why the modules of such runs are trained one after the other; None if they are trained all at once."""
    sgd = registry.parse("sgd(lr=0.01, momentum=0.0, weight_decay=0.0)")
    return _tried(replace(run, optimizer=sgd, replica=0), device)


@functools.lru_cache(maxsize=64)
def _tried(run: RunSpec, device: torch.device) -> str | None:
    assert isinstance(run.model, ModuleSpec)
    runs = [replace(run, replica=replica) for replica in range(REPLICAS)]
    fresh = [make(run.model, run.task, one.key) for one in runs[:2]]
    if any(isinstance(value, Tensor) for part in fresh[0].modules() for value in vars(part).values()):
        return "it keeps a tensor that is neither a parameter nor a buffer"
    try:
        kept, other = map(_rest, fresh)
    except Exception as error:  # whatever pickle raises
        return f"what it keeps cannot be compared: {type(error).__name__}"
    if kept != other:
        return "its replicas differ in more than parameters and buffers"
    try:
        with _no_fallbacks(), _Slices() as slices:  # type: ignore[no-untyped-call]
            together = _trained(VmappedEnsemble, runs, device)
        # On CUDA an ensemble always has the same number of slots, and bits may depend on it.
        vacant = REPLICAS - 1 if device.type == "cuda" else 0
        alone = _trained(VmappedEnsemble, runs[-1:], device, vacant)
        plain = _trained(ModuleEnsemble, runs[:2], device)
    except Exception as error:  # of foreign code, or too little memory for so many at once
        return f"torch.func.vmap cannot do it: {str(error.__cause__ or error).strip().partition('. ')[0]}"
    assert isinstance(plain.stack, ModuleEnsemble)
    for module, own in zip(plain.stack.modules, fresh, strict=True):
        before, after = constants(own), constants(module)
        if _rest(module) != kept or any(not torch.equal(before[n], after[n].cpu()) for n in before):
            return "it keeps something from step to step"
    if device.type == "cpu" and slices.uneven:
        return f"its products have slices that fill no cache lines, as one of shape {slices.uneven}"
    if any(not torch.equal(a[0], b[-1]) for a, b in zip(alone.bits, together.bits, strict=True)):
        return "its bits would depend on the other replicas"
    for slot, own in enumerate(fresh):
        if not _close(together.stack.weights(slot), plain.stack.weights(slot), dict(own.named_parameters())):
            return "torch.func.vmap computes something else"
    if not np.allclose(together.losses[:2], plain.losses, rtol=CLOSE):
        return "the scores of a question depend on those beside it"
    return None


@contextmanager
def _no_fallbacks() -> Iterator[None]:
    """Where `vmap` would go through an operation slot by slot, which is no faster than module by module, it fails."""
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="There is a performance drop")
            yield
    finally:
        torch.set_warn_always(always)


class _Slices(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Looks at the matrix products. uneven: the shape of a batch whose slices begin within a cache line, if any does.

    The bits of such a slice depend on where it begins, and so on its slot.
    """

    uneven: tuple[int, ...] | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket in PRODUCTS:
            for x in (*args, found):
                if isinstance(x, Tensor) and x.ndim == 3 and x.stride(0) * x.element_size() % LINE:
                    self.uneven = tuple(x.shape)
        return found


class _Trained(NamedTuple):
    """E runs after some epochs. bits: arrays (E, …) of all epochs; gradients show what weights round away.

    losses: (E,) of the last evaluation.
    """

    stack: Ensemble
    bits: list[Tensor]
    losses: NDArray[np.float64]


def _trained(kind: type[Ensemble], runs: Sequence[RunSpec], device: torch.device, vacant: int = 0) -> _Trained:
    stack = kind(runs[0], len(runs) + vacant, device)
    for slot, one in enumerate(runs):
        stack.load(slot, one)
    bits = []
    for _ in range(EPOCHS):
        figures = stack.epoch()
        bits += [x[: len(runs)] for x in (stack.gradients, *map(torch.from_numpy, figures))]
    return _Trained(stack, bits, figures.validation_loss[: len(runs)])


def _rest(module: nn.Module) -> bytes:
    """All that a module holds besides the values of its parameters and buffers."""
    tensors = [*module.parameters(), *module.buffers()]
    bare = copy.deepcopy(module, {id(tensor): "a tensor" for tensor in tensors})  # which are not copied
    return pickle.dumps(bare.train())


def _close(one: dict[str, Tensor], other: dict[str, Tensor], before: dict[str, nn.Parameter]) -> bool:
    """Whether two trainings from the same weights went the same way, up to rounding."""
    apart = sum(float((one[name] - other[name]).double().square().sum()) for name in one)
    way = sum(float((other[name].cpu() - before[name].detach()).double().square().sum()) for name in one)
    return apart <= CLOSE**2 * way
