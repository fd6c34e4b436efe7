"""Whether `state_dict` holds all that an optimizer remembers, early and late, and what it holds."""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import Replica, noise
from grokbench.spec import OptimizerSpec, registry

SAVES = (25, 300)  # the second for what acts in every 60th step, or at 256
LAST = 365
LIMITS = {torch.bfloat16: 256, torch.float16: 2048}  # beyond, adding one changes nothing


def round_trip(spec: OptimizerSpec) -> Seen:
    """Save after 25 and after 300 steps, load into new ones, and step these on to 300 and 365 with the same bits.

    Before a save the rate is halved, as by a schedule. Tiny parameters under bounded gradients, which do not overflow.
    """
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: its state lies in the stack, and has no state_dict")
    one = Replica(spec, tiny=True)
    rows = noise(LAST, 1)[:, 0]
    loaded: dict[int, Replica] = {}
    sizes: list[int] = []
    notes: list[str] = []
    for t in range(LAST):
        if t in SAVES:
            for replica in (one, *loaded.values()):
                _halve(replica)
            loaded = {t: one.again(_copied(one.optimizer.state_dict(), notes))}
            sizes.append(sum(value.numel() for _, value in _tensors(one.optimizer)))
        for replica in (one, *loaded.values()):
            replica.pull(rows[t])
            replica.step()
        if not all(bool(p.isfinite().all()) for p in one.parameters):
            raise ConformanceError(f"not finite after {t + 1} steps on bounded gradients, without any load")
        for saved, other in loaded.items():
            if name := one.difference(other):
                raise ConformanceError(
                    f"saved after {saved} steps and loaded into a new one, {name} differs {t + 1 - saved} steps later"
                )
    counters(one.optimizer, one.count)
    if sizes[1] > sizes[0]:
        notes.append(
            f"its state grows with the steps: {sizes[0]} numbers after {SAVES[0]}, {sizes[1]} after {SAVES[1]}"
        )
    saves = " and ".join(map(str, SAVES))
    text = f"saved after {saves} steps, loaded into new ones and stepped on to {LAST}: the same bits"
    return Seen("; ".join([text, *notes]), CheckOutcome.SAID if notes else CheckOutcome.HOLDS)


def _halve(one: Replica) -> None:
    for group in one.optimizer.param_groups:
        if isinstance(group.get("lr"), float):
            group["lr"] /= 2


def _copied(state: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """Through a file, as a checkpoint goes; notes what needs more than `torch.load` allows by default."""
    file = io.BytesIO()
    try:
        torch.save(state, file)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConformanceError(f"its state_dict cannot be saved: {type(error).__name__}: {error}") from error
    file.seek(0)
    try:
        found: dict[str, Any] = torch.load(file)
    except pickle.UnpicklingError:
        file.seek(0)
        found = torch.load(file, weights_only=False)
        if not notes:
            notes.append("torch.load reads it only with weights_only=False")
    return found


def _tensors(optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """All tensors of the state, by name."""
    for own in optimizer.state.values():
        for name, value in own.items():
            for entry in value if isinstance(value, list | tuple) else (value,):
                if isinstance(entry, Tensor):
                    yield str(name), entry


def counters(optimizer: torch.optim.Optimizer, count: int) -> None:
    """After `count` steps. Raises `ConformanceError` for a counter of steps in a number format that cannot count on, or
    a kept graph.
    """
    in_groups = [
        (str(name), value)
        for group in optimizer.param_groups
        for name, value in group.items()
        if isinstance(value, Tensor)
    ]
    for name, value in (*_tensors(optimizer), *in_groups):
        if value.requires_grad:
            raise ConformanceError(f"{name} keeps the graph of all steps before: it requires a gradient")
        limit = LIMITS.get(value.dtype)
        if limit and value.numel() == 1 and float(value) in (float(min(count, limit)), count - 1.0):
            raise ConformanceError(
                f"its counter {name} is {float(value):g} after {count} steps: "
                f"in {str(value.dtype).removeprefix('torch.')} it stops at {limit}"
            )
