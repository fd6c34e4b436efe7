"""Parameters of other shapes, layouts and number formats than those of the models here, and steps with a closure."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from grokbench.conformance.groups import apart
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen, in_a_line
from grokbench.conformance.rig import PATIENT, Replica, frame, noise, same, trained
from grokbench.conformance.state import counters
from grokbench.spec import OptimizerSpec, UsageError, registry
from grokbench.spec.registry import RESERVED, load

STEPS = PATIENT
SHAPES = ((), (1,), (3, 1), (2, 3, 4), (2, 3, 3, 3))
SPEED = ("foreach", "fused")  # switches that should change the speed alone
ALIKE = 1e-4  # of a movement, between such
ROUNDING = 2.0**-23  # of float32


def shapes(spec: OptimizerSpec) -> Seen:
    """Whether parameters of other shapes and layouts are stepped as well.

    Raises `ConformanceError` for one that does not move, or moves otherwise than a contiguous copy of it. That a shape
    is refused is only said: the models here have none but matrices and vectors.
    """
    if spec.name in registry.BUILT_IN or not inspect.isclass(load(spec.name)):
        raise NotApplicableError("it takes the parameters of the models here alone")
    refused: dict[str, list[str]] = {}
    for shape in SHAPES if not spec.matrices_only else ():
        try:
            moved = _stepped(spec, lambda shape=shape: _values(shape))  # type: ignore[misc]
        except UsageError as error:
            refused.setdefault(in_a_line(error), []).append(str(shape))
            continue
        if not moved[0].isfinite().all():
            raise ConformanceError(f"a parameter of shape {shape} is not finite after {STEPS} steps")
        if same(moved[0], _values(shape)):
            raise ConformanceError(f"a parameter of shape {shape} does not move")
    try:
        straight = _stepped(spec, lambda: _values((6, 4)))
        turned = _stepped(spec, lambda: _values((6, 4)).mT.contiguous().mT)
    except UsageError as error:
        refused.setdefault(in_a_line(error), []).append("that are not contiguous")
    else:
        if same(turned[0], _values((6, 4))):
            raise ConformanceError("a parameter that is not contiguous does not move: is a copy of it stepped?")
        begin = [_values((6, 4))]
        # Noise is drawn in the order of the memory, and sums round by it, which some rules make much of: one that
        # divides each direction of a gradient by its size has rounding alone in some.
        drawn = not same(straight[0], _stepped(spec, lambda: _values((6, 4)), seed=STEPS)[0])
        rounded = apart(straight, _stepped(spec, lambda: _values((6, 4)), close=ROUNDING), begin)
        if not drawn and apart(straight, turned, begin) > max(ALIKE, 100 * rounded):
            raise ConformanceError("a parameter that is not contiguous moves otherwise than a contiguous one")
    notes = [f"parameters {', '.join(kinds)} are refused: {why}" for why, kinds in refused.items()]
    if notes:
        return Seen("; ".join(notes), CheckOutcome.SAID)
    return Seen("numbers, vectors, and tensors of three and four sides move, and so does what is not contiguous")


def formats(spec: OptimizerSpec) -> Seen:
    """Whether parameters in float64 and bfloat16 stay in their format, and move in it.

    That a counter of steps takes bfloat16, where that is the default, is said.
    """
    if spec.name in registry.BUILT_IN or not inspect.isclass(load(spec.name)):
        raise NotApplicableError("it takes the parameters of the models here alone")
    notes = []
    single = _stepped(spec, lambda: _values((6, 4)))
    for dtype in (torch.float64, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        try:
            (p,) = _stepped(spec, lambda dtype=dtype: _values((6, 4)).to(dtype))  # type: ignore[misc]
        except UsageError as error:
            notes.append(f"{name} is refused: {in_a_line(error)}")
            continue
        if p.dtype != dtype:
            raise ConformanceError(
                f"a parameter in {name} is {str(p.dtype).removeprefix('torch.')} after {STEPS} steps"
            )
        if not p.isfinite().all():
            raise ConformanceError(f"a parameter in {name} is not finite after {STEPS} steps")
        if dtype is torch.float64 and apart([p.float()], [single[0]], [_values((6, 4))]) > 1e-2:
            notes.append("in float64 its steps are others, by more than rounding")
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        optimizer = _run(spec, nn.Parameter(_values((6, 4)).float()))
        counters(optimizer, STEPS)
    except UsageError as error:
        notes.append(f"with bfloat16 as the default dtype it is refused: {in_a_line(error)}")
    except ConformanceError as error:
        notes.append(f"with bfloat16 as the default dtype, {error}")
    finally:
        torch.set_default_dtype(default)
    if notes:
        return Seen("; ".join(notes), CheckOutcome.SAID)
    return Seen("parameters in float64 and bfloat16 stay so")


def paths(spec: OptimizerSpec) -> Seen:
    """Whether switches of speed, `foreach` and `fused`, give the same steps up to rounding."""
    named = [name for name in SPEED if spec.name not in registry.BUILT_IN and name in dict(spec.hyperparameters)]
    if not named:
        raise NotApplicableError("it has neither foreach nor fused")
    rows = noise(STEPS, 1)[:, 0]
    alike = []
    for name in named:
        ends: list[list[Tensor]] = []
        for value in (False, True):
            try:
                one = Replica(spec.having(**{**dict.fromkeys(named, False), name: value}), tiny=True)
                start = [p.detach().clone() for p in one.parameters]
                for row in rows:
                    one.give(row)
                    one.step()
                ends.append([*one.parameters])
            except UsageError:
                break
        else:
            if (difference := apart(ends[0], ends[1], start)) > ALIKE:
                raise ConformanceError(f"with {name}=True its steps are others, by {difference:.2g} of their movement")
            alike.append(name)
    if not alike:
        raise NotApplicableError(f"{' and '.join(named)} cannot be set here")
    return Seen(f"{' and '.join(alike)} give the same steps up to rounding")


def closure(spec: OptimizerSpec) -> Seen:
    """What it does with a closure, which grokbench never gives: torch's contract is to call it and return its loss."""
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: it takes no closure")
    one = Replica(spec, tiny=True)
    calls: list[bool] = []

    def loss() -> float:
        calls.append(torch.is_grad_enabled())
        one.give(noise(1, 1)[0, 0])
        return 3.0

    try:
        one.give(noise(1, 1)[0, 0])
        with frame(spec, 1):
            returned = one.optimizer.step(loss)
    except UsageError as error:
        return Seen(f"a closure is refused: {in_a_line(error)}", CheckOutcome.SAID)
    if not calls:
        return Seen("a closure is never called", CheckOutcome.SAID)
    if not all(calls):
        return Seen("a closure is called with gradients off, so backward() in it fails", CheckOutcome.SAID)
    if returned is None:
        return Seen("the loss of a closure is not returned", CheckOutcome.SAID)
    times = "" if len(calls) == 1 else f" {len(calls)} times"
    return Seen(f"a closure is called{times} with gradients on, and its loss is returned")


def _values(shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(shape, generator=generator)


def _stepped(spec: OptimizerSpec, make: Callable[[], Tensor], seed: int = 0, close: float = 0.0) -> list[Any]:
    """The one parameter that is made so, after some steps. seed and close: see `_run`. Raises `UsageError`."""
    p = nn.Parameter(make())
    _run(spec, p, seed, close)
    return [p.detach()]


def _run(spec: OptimizerSpec, p: nn.Parameter, seed: int = 0, close: float = 0.0) -> torch.optim.Optimizer:
    """An optimizer after some steps of this parameter, on gradients of its own layout. Raises `UsageError`.

    seed: of the random numbers that the steps may draw. close: by which share the gradients are others.
    """
    arguments = {name: value for name, value in spec.hyperparameters if name not in RESERVED}
    with frame(spec, 0):
        optimizer = trained(load(spec.name)([p], **arguments))
    generator = torch.Generator().manual_seed(4)
    for t in range(STEPS):
        drawn = 0.1 * torch.randn(p.shape, generator=generator)
        drawn = drawn * (1 + close * _values(drawn.shape)) if close else drawn
        p.grad = torch.empty_like(p).copy_(drawn)
        with frame(spec, seed + t + 1):
            optimizer.step()
    return optimizer
