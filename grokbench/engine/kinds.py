"""Which kind of ensemble trains a run: the built-in transformer's, or that of any module, all at once or one by one.

Modules are trained all at once only where they declare that they can be, and a trial has nothing against it: it changes
nothing but the rounding, and no slot's bits depend on the others. The trial follows from the run's spec and the machine
alone, as the bits do.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from grokbench.engine.ensemble import Ensemble
from grokbench.engine.modules import ModuleEnsemble
from grokbench.engine.vmapped import VmappedEnsemble, constants, rest
from grokbench.models.module import make, parameters
from grokbench.spec import ModuleSpec, RunSpec, registry

REPLICAS, EPOCHS = 5, 3  # of the trial
PRODUCTS = (torch.ops.aten.bmm, torch.ops.aten.baddbmm)
LINE = 64  # bytes of a processor's cache line
CLOSE = 1e-9  # how far a trial in float64 may be from modules one by one
# Element-wise functions that round each element alike wherever it lies; of others, vectors of 32 floats do so.
EXACT = {
    *("abs", "add", "addcdiv", "addcmul", "clamp", "clamp_max", "clamp_min", "clone", "copy", "cos", "div", "erf"),
    *("exp", "expm1", "fill", "lerp", "log1p", "masked_fill", "maximum", "minimum", "mul", "neg", "reciprocal"),
    *("relu", "rsqrt", "rsub", "sin", "sqrt", "sub", "tanh", "threshold_backward", "to_copy", "where", "zero"),
}
VECTORS = 128  # bytes


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
    parameters(run.model, run.task)  # which is known from then on, and is none of what is looked at below
    runs = [replace(run, replica=replica) for replica in range(REPLICAS)]
    template, *fresh = (make(run.model, run.task, key) for key in (0, *(one.key for one in runs)))
    if not getattr(template, "grokbench_stacked", False):
        return "it does not declare grokbench_stacked = True"
    if any(isinstance(value, Tensor) for part in template.modules() for value in vars(part).values()):
        return "it keeps a tensor that is neither a parameter nor a buffer"
    try:
        kept = rest(template)
        if any(rest(own) != kept for own in fresh):
            return "its replicas differ in more than the values of parameters and buffers"
    except Exception as error:  # whatever pickle raises
        return f"what it keeps cannot be compared: {type(error).__name__}"
    # On CUDA an ensemble always has the same number of slots, and bits may depend on it.
    vacant = REPLICAS if device.type == "cuda" else 0
    double = replace(run, model=replace(run.model, dtype="float64"))
    pair = [replace(double, replica=replica) for replica in range(2)]
    try:
        slices = _Slices(REPLICAS + 1)
        with _no_fallbacks():
            together = _trained(VmappedEnsemble, runs, device, 1, watched=slices)
        alone = _trained(VmappedEnsemble, runs[-1:], device, vacant)
        exact = _trained(VmappedEnsemble, pair, device)
        plain = _trained(ModuleEnsemble, pair, device)
    except Exception as error:  # of foreign code, or too little memory for so many at once
        return f"torch.func.vmap cannot do it: {str(error.__cause__ or error).strip().partition('. ')[0]}"
    assert isinstance(plain.stack, ModuleEnsemble)
    for module, one in zip(plain.stack.modules, pair, strict=True):
        own = make(replace(run.model, dtype="float64"), run.task, one.key)
        before, after = constants(own), constants(module)
        if rest(module) != rest(own) or any(not torch.equal(before[n], after[n].cpu()) for n in before):
            return "it keeps something from step to step"
    if device.type == "cpu" and slices.uneven:
        return f"{slices.uneven}, so the bits of a replica would depend on its slot"
    if any(not torch.equal(a[0], b[-1]) for a, b in zip(alone.bits, together.bits, strict=True)):
        return "its bits would depend on the other replicas"
    if any(not torch.allclose(a, b, rtol=CLOSE, atol=CLOSE) for a, b in zip(exact.bits, plain.bits, strict=True)):
        return "torch.func.vmap computes something else"
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
    """Looks for what rounds by where a slot lies in memory. uneven: an instance in words, if there is any.

    A product's slice that begins within a cache line is one. So is a function that is computed for vectors of floats,
    and otherwise for the few at the end, where a slot is no whole number of vectors.
    """

    def __init__(self, slots: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._slots = slots
        self.uneven = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket in PRODUCTS:
            for x in (*args, found):
                if isinstance(x, Tensor) and x.ndim == 3 and x.stride(0) * x.element_size() % LINE:
                    self.uneven = f"its products have slices that fill no cache lines, as one of shape {tuple(x.shape)}"
        elif (
            isinstance(found, Tensor)
            and found.is_floating_point()
            and torch.Tag.pointwise in func.tags
            and func.overloadpacket.__name__.strip("_") not in EXACT
        ):
            size = found.numel() * found.element_size()
            if found.ndim and size % (self._slots * VECTORS):
                what = func.overloadpacket.__name__
                self.uneven = f"its {what} has slices that fill no vectors, as one of shape {tuple(found.shape)}"
        return found


class _Trained(NamedTuple):
    """E runs after some epochs. bits: arrays (E, …) of all epochs; gradients show what weights round away."""

    stack: Ensemble
    bits: list[Tensor]


def _trained(
    kind: type[Ensemble], runs: Sequence[RunSpec], device: torch.device, vacant: int = 0, watched: _Slices | None = None
) -> _Trained:
    """watched: by this; and then the first run diverges before the last epoch."""
    stack = kind(runs[0], len(runs) + vacant, device)
    for slot, one in enumerate(runs):
        stack.load(slot, one)
    bits = []
    with watched or nullcontext():
        for epoch in range(EPOCHS):
            if watched and epoch == EPOCHS - 1:
                stack.diverge(0)
            figures = stack.epoch()
            bits += [x[: len(runs)].double() for x in (stack.gradients, *map(torch.from_numpy, figures))]
    weights = [torch.cat([w.flatten() for w in stack.weights(slot).values()]) for slot in range(len(runs))]
    return _Trained(stack, [*bits, torch.stack(weights).double()])
