"""Groups of parameters: what each sets for itself, one that is added later, and what parameters do to one another."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from grokbench.conformance.knobs import numeric
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen, in_a_line
from grokbench.conformance.rate import stop
from grokbench.conformance.rig import PATIENT, SLICES, Replica, frame, noise, same, trained, trajectory, weights
from grokbench.spec import OptimizerSpec, UsageError, registry
from grokbench.spec.registry import RESERVED, load

LATER = 3  # steps after which a group is added
STEPS = LATER + PATIENT
ALIKE = 1e-5  # of a movement, below which two are one up to rounding
LARGE = 100.0


def groups(spec: OptimizerSpec) -> Seen:
    """Whether each of two groups is stepped by its own rate, and one is stepped that is added later.

    Raises `ConformanceError` for a group whose rate is another's, or that stands still. That a second group is refused
    is only said.
    """
    if spec.name in registry.BUILT_IN or not inspect.isclass(load(spec.name)):
        raise NotApplicableError("it makes its groups itself")
    rows = noise(STEPS, 1)[:, 0]
    try:
        whole, halves, halted = _Grouped(spec, []), _Grouped(spec, [{}, {}]), _Grouped(spec, [{}, _STOPPED])
        for row in rows:
            for grouped in (whole, halves, halted):
                grouped.step(row)
        added = _Grouped(spec, [{}], left_out=True)
        for row in rows[:LATER]:
            added.step(row)
        added.add()
        for row in rows[LATER:]:
            added.step(row)
    except UsageError as error:
        return Seen(f"no second group can be had: {in_a_line(error)}", CheckOutcome.SAID)
    if "lr" in halted.optimizer.param_groups[1]:
        own_rate = halted.optimizer.param_groups[1]["lr"] == 0
        if own_rate and halted.moved(1) and not _moves_at_zero(spec, rows):
            raise ConformanceError(
                "a second group whose own rate and decay are 0 moves: it is stepped by another's rate"
            )
        if not halted.moved(0):
            raise ConformanceError("a first group stands still beside a second one whose rate is 0")
    if not added.moved(1):
        raise ConformanceError("a group that is added after some steps does not move")
    notes = (
        [f"kept from when it was made, so no group or schedule can change it: {', '.join(kept)}"]
        if (kept := _kept(spec, rows))
        else []
    )
    if not whole.alike(halves):
        notes.append("its steps depend on how parameters are divided into groups")
    text = "each of two groups has its own rate, and one that is added later moves"
    return Seen("; ".join([text, *notes]), CheckOutcome.SAID if notes else CheckOutcome.HOLDS)


_STOPPED: dict[str, Any] = {"lr": 0.0, "weight_decay": 0.0}


class _Grouped:
    """A replica whose parameters are divided into groups with settings of their own, in turn; [] for a plain list."""

    def __init__(self, spec: OptimizerSpec, settings: list[dict[str, Any]], *, left_out: bool = False) -> None:
        self.replica = Replica(spec, tiny=True)
        half = len(self.replica.parameters) // 2
        self.halves = [self.replica.parameters[:half], self.replica.parameters[half:]]
        self.start = [[p.detach().clone() for p in own] for own in self.halves]
        arguments = {name: value for name, value in spec.hyperparameters if name not in RESERVED}
        make = load(spec.name)
        decays = "weight_decay" in self.replica.optimizer.param_groups[0]
        given: list[Any] = [
            {"params": own, **{n: v for n, v in settings.items() if n == "lr" or decays}}
            for own, settings in zip(self.halves, settings, strict=False)
        ]
        with frame(spec, 0):
            self.replica.optimizer = trained(make(given or self.replica.parameters, **arguments))
        self.spec, self.left_out = spec, left_out

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        return self.replica.optimizer

    def step(self, row: Tensor) -> None:
        self.replica.give(row)
        self.replica.step()

    def add(self) -> None:
        """The second half of the parameters as a new group."""
        with frame(self.spec, self.replica.count):
            self.optimizer.add_param_group({"params": self.halves[1]})

    def moved(self, half: int) -> bool:
        return not all(same(p.detach(), old) for p, old in zip(self.halves[half], self.start[half], strict=True))

    def alike(self, other: _Grouped) -> bool:
        """Whether both have taken the same steps, up to rounding."""
        return apart(self.replica.parameters, other.replica.parameters, [*self.start[0], *self.start[1]]) <= ALIKE


def apart(one: Sequence[Tensor], other: Sequence[Tensor], start: Sequence[Tensor]) -> float:
    """The largest difference of two sets of parameters, over the largest movement of the first."""
    moved = max(float((p - begin).detach().abs().max()) for p, begin in zip(one, start, strict=True))
    return max(float((p - q).detach().abs().max()) for p, q in zip(one, other, strict=True)) / max(moved, 1e-30)


def _moves_at_zero(spec: OptimizerSpec, rows: Tensor) -> bool:
    """Whether weights move even where the only group has a rate and decay of 0."""
    one = Replica(spec, tiny=True)
    stop(one)
    start = [p.detach().clone() for p in one.parameters]
    for row in rows:
        one.give(row)
        one.step()
    return not all(same(p.detach(), old) for p, old in zip(one.parameters, start, strict=True))


def _kept(spec: OptimizerSpec, rows: Tensor) -> list[str]:
    """Numbers in the groups that act when the optimizer is made, and not when they are set later."""
    plain = _ends(Replica(spec, tiny=True), rows)
    found = []
    for name, value in Replica(spec, tiny=True).optimizer.param_groups[0].items():
        if name not in dict(spec.hyperparameters) or not numeric(value) or name == "lr":
            continue
        other = _half(value)
        try:
            made = _ends(Replica(spec.having(**{name: other}), tiny=True), rows)
            later = Replica(spec, tiny=True)
            for group in later.optimizer.param_groups:
                group[name] = other
            if _differ(made, plain) and not _differ(_ends(later, rows), plain):
                found.append(str(name))
        except UsageError:
            continue  # it does not take this value
    return found


def _half(value: Any) -> Any:
    """Half of a number that is not 0, and of each in a row, whose entries may be rows."""
    return tuple(map(_half, value)) if isinstance(value, list | tuple) else value / 2 or 0.1


def _ends(one: Replica, rows: Tensor) -> list[Tensor]:
    for row in rows:
        one.give(row)
        one.step()
    return [p.detach() for p in one.parameters]


def _differ(one: list[Tensor], other: list[Tensor]) -> bool:
    return not all(same(p, q) for p, q in zip(one, other, strict=True))


def coupling(spec: OptimizerSpec) -> Seen:
    """Whether a parameter's steps depend on the gradients of the others, as under a global norm, or on their number."""
    rows = noise(STEPS, 1)
    louder = rows.clone()
    first = slice(0, SLICES[0].size)
    louder[..., first] *= LARGE
    one, other = (trajectory(spec, given, STEPS, weights(1))[:, :, first.stop :] for given in (rows, louder))
    if not same(one, other):
        return Seen("the steps of a parameter change with the gradients of the others", CheckOutcome.SAID)
    if spec.name not in registry.BUILT_IN:
        full = Replica(spec)
        try:
            fewer = Replica(spec, without=full.named[0][0])
        except UsageError:
            return Seen("gradients of one parameter leave the others alone")
        for row in rows[:, 0]:
            for replica in (full, fewer):
                replica.give(row)
                replica.step()
        if name := full.difference(fewer):
            why = "does a counter of steps count parameters?"
            return Seen(f"with one parameter fewer, {name} takes other steps: {why}", CheckOutcome.SAID)
    return Seen("each parameter's steps are its own")
