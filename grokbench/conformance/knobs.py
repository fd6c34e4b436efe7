"""The hyperparameters of an optimizer, and which of them change nothing, whatever they are set to."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import noise, trajectory, weights
from grokbench.spec import OptimizerSpec, UsageError, registry

Result = Callable[[OptimizerSpec, float, int], Tensor | None]
"""From an optimizer, the scale of its gradients and a number of steps to the weights, None if that does not work."""

# Ordinary gradients; such that a stabilising ε is felt; such that clipping is.
SCALES = (0.1, 1e-8, 100.0)
STEPS, MANY_STEPS = 12, 120  # at first; for what acts late, or seldom
# Names of knobs that may be large: rates, ε, decay. Any other number in [0, 1) is taken as a share, as a momentum is,
# and so is one of at least a half, whatever its name: a decay_rate of 0.9 is a share.
SCALE_LIKE = re.compile(r"lr|rate|eps|decay|\bwd\b|l2", re.I)
LARGE_SHARE = 0.5
# Switches of torch's own that act on speed, or on what may be done with the graph.
SPEED = ("foreach", "fused", "capturable", "differentiable")
FEW = 2  # values to try of what changes nothing at first


def none_dead(spec: OptimizerSpec) -> Seen:
    """Whether each hyperparameter that is a number or a switch changes the weights.

    In float64 where the optimizer can, so that what acts only where numbers of float32 underflow is dead.
    """
    values, own = knobs(spec), dict(spec.hyperparameters)
    if "adamw_lr" in own and own.get("adamw_weight_decay") is None:
        # Else the decay of what is left to AdamW follows weight_decay, and would stand for it.
        spec = spec.having(adamw_weight_decay=own.get("weight_decay") or 0.0)
    looked_at = [name for name, value in values.items() if _is_knob(value)]
    unseen = "; ".join(filter(None, (_unseen(spec), _texts(spec))))
    if not looked_at:
        if unseen:
            return Seen(unseen, CheckOutcome.SAID)
        raise NotApplicableError("it has no hyperparameter that is a number or a switch")
    kept: dict[tuple[str, float, int], Tensor | None] = {}
    precision = _precision(spec)

    def result(changed: OptimizerSpec, scale: float, steps: int) -> Tensor | None:
        key = str(changed), scale, steps
        if key not in kept:
            kept[key] = _weights_after(changed, scale, steps, precision)
        return kept[key]

    dead, stuck, joint = dead_knobs(spec, values, result)
    notes = [f"{name} only together with {other}" for name, other in joint.items()]
    notes += [f"no other value of {name} was accepted" for name in stuck]
    notes += [unseen] if unseen else []
    if dead:
        raise ConformanceError("; ".join([f"changes nothing: {', '.join(dead)}", *notes]))
    return Seen("; ".join([f"each of {len(looked_at)} changes the weights", *notes]))


def _is_knob(value: object) -> bool:
    return numeric(value) or isinstance(value, bool)


def _unseen(spec: OptimizerSpec) -> str:
    """What of a plug-in's `**kwargs` cannot be known."""
    if spec.name in registry.BUILT_IN:
        return ""
    try:
        parameters = inspect.signature(registry.load(spec.name)).parameters
    except (TypeError, ValueError):
        return "its signature cannot be read: what is not named in the parentheses was not looked at"
    rest = next((f"**{name}" for name, p in parameters.items() if p.kind is p.VAR_KEYWORD), "")
    if not rest:
        return ""
    taken = [name for name in dict(spec.hyperparameters) if name not in (*parameters, *registry.RESERVED)]
    return f"what {'else ' * bool(taken)}{rest} takes was not looked at: name it in the parentheses"


def _texts(spec: OptimizerSpec) -> str:
    """Its settings that are texts, whose other values nobody knows."""
    if spec.name in registry.BUILT_IN:
        return ""
    inert = _inert(spec)
    named = [
        f"{name}={value!r}" for name, value in spec.hyperparameters if isinstance(value, str) and name not in inert
    ]
    return f"not looked at, since its choices are not known: {', '.join(named)}" if named else ""


def _precision(spec: OptimizerSpec) -> torch.dtype:
    """float64, or float32 for an optimizer that fails in it."""
    try:
        trajectory(spec, noise(2, 1), 2, weights(1), torch.float64)
    except UsageError:
        return torch.float32
    return torch.float64


def _weights_after(spec: OptimizerSpec, scale: float, steps: int, dtype: torch.dtype) -> Tensor | None:
    """(E, P) the weights after these steps; None where they are not finite, or the values are refused."""
    try:
        # Once more from its text, which checks the values of a built-in optimizer.
        checked = registry.parse(str(spec))
        end = trajectory(checked, noise(steps, 1, scale), steps, weights(1), dtype)[-1]
    except UsageError:
        return None
    return end if end.isfinite().all() else None


def knobs(spec: OptimizerSpec) -> dict[str, object]:
    """The hyperparameters that are numbers, switches or None, with their values: as given, or a plug-in's defaults."""
    found: dict[str, object] = {}
    if spec.name not in registry.BUILT_IN:
        # A class whose signature cannot be read has only the knobs that it is given.
        try:
            parameters = dict(inspect.signature(registry.load(spec.name)).parameters)
        except (TypeError, ValueError):
            parameters = {}
        for name, p in parameters.items():
            switch = p.annotation in (bool, "bool") and not isinstance(p.default, bool)
            if p.default is not p.empty:
                found[name] = False if switch else p.default  # some have a default of their own kind
    inert = _inert(spec) if spec.name not in registry.BUILT_IN else ()
    found |= dict(spec.hyperparameters)
    return {n: value for n, value in found.items() if n not in inert and (value is None or _is_knob(value))}


def _inert(spec: OptimizerSpec) -> tuple[str, ...]:
    """Names that a plug-in declares to act on its speed alone, by its attribute `grokbench_inert`."""
    return (*SPEED, *getattr(registry.load(spec.name), "grokbench_inert", ()))


def numeric(value: object) -> bool:
    """Whether it is a finite number, or a row of such."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(numeric, value))
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def variations(name: str, value: Any) -> Iterator[Any]:
    """Other values of a knob, the likeliest to be accepted first; those of a share, as of momentum, are shares, too."""
    small = isinstance(value, float) and 0 <= value < 1
    inside = small and (value >= LARGE_SHARE or not SCALE_LIKE.search(name))
    if value is None:
        yield from (10, 0.5)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, list | tuple):
        for i, entry in enumerate(value):
            for other in variations(name, entry):
                yield (*value[:i], other, *value[i + 1 :])
    elif isinstance(value, int):
        yield from (v for v in (value + 1, max(1, value - 1), 2 * value + 1, 4) if v != value)
    elif isinstance(value, float):
        large = () if inside else (value * 100,)
        close = (1 - (1 - value) * 0.99,) if inside else (value * 1.01,)
        yield from (v for v in (value / 2, 0.1, *close, *large, 1e-3, 0.9) if v != value)


def dead_knobs(
    spec: OptimizerSpec, values: Mapping[str, Any], result: Result
) -> tuple[list[str], list[str], dict[str, str]]:
    """Knobs that change nothing; those that take no other value; those that act once another is changed, with it.

    values: of the knobs, and of the switches and Nones beside which they might act.
    """
    plain = {scale: result(spec, scale, STEPS) for scale in SCALES}
    dead: list[str] = []
    stuck: list[str] = []
    joint: dict[str, str] = {}
    for name, value in values.items():
        if not _is_knob(value):
            continue
        if isinstance(value, list | tuple) and len(value) > 1:
            silent = [i for i in range(len(value)) if _entry_is_dead(spec, name, value, i, result, plain)]
            if silent and len(silent) < len(value):
                dead += [f"{name}[{i}]" for i in silent]
                continue
        tried = False
        for other in variations(name, value):
            tried, acts = _acts(spec, name, other, result, plain, tried)
            if acts:
                break
        else:
            if not tried:
                stuck.append(name)
            elif partner := _late(spec, name, value, result) or _beside(spec, name, values, result):
                joint |= {name: partner} if partner != name else {}
            else:
                dead.append(name)
    return dead, stuck, joint


def _entry_is_dead(
    spec: OptimizerSpec, name: str, value: Any, place: int, result: Result, plain: Mapping[float, Tensor | None]
) -> bool:
    """Whether other numbers in this place of a row are accepted and change nothing, at first or after many steps."""
    rows = [(*value[:place], other, *value[place + 1 :]) for other in variations(name, value[place])]
    tried = False
    for row in rows:
        tried, acts = _acts(spec, name, row, result, plain, tried)
        if acts:
            return False
    if not tried:
        return False
    many = {SCALES[0]: result(spec, SCALES[0], MANY_STEPS)}
    return not any(_acts(spec, name, row, result, many, False, MANY_STEPS)[1] for row in rows[:FEW])


def _acts(
    spec: OptimizerSpec,
    name: str,
    other: Any,
    result: Result,
    plain: Mapping[float, Tensor | None],
    tried: bool,
    steps: int = STEPS,
) -> tuple[bool, bool]:
    """Whether any value was accepted so far, and whether this one changes the weights at any scale."""
    changed = _with(spec, name, other)
    for scale, before in plain.items():
        after = result(changed, scale, steps) if changed and before is not None else None
        if before is not None and after is not None:
            tried = True
            if not bool((before == after).all()):
                return tried, True
    return tried, False


def _late(spec: OptimizerSpec, name: str, value: Any, result: Result) -> str | None:
    """Its own name if the knob acts after many steps."""
    plain = {SCALES[0]: result(spec, SCALES[0], MANY_STEPS)}
    late = any(
        _acts(spec, name, other, result, plain, False, MANY_STEPS)[1] for other in islice(variations(name, value), FEW)
    )
    return name if late else None


def _beside(spec: OptimizerSpec, name: str, values: Mapping[str, Any], result: Result) -> str | None:
    """The first other knob beside whose other value this one acts; if there is decay to act on, beside that, too."""
    partner = _jointly(spec, name, values, result)
    if partner is None and values.get("weight_decay") == 0 and (decaying := _with(spec, "weight_decay", 0.1)):
        partner = _jointly(decaying, name, {**values, "weight_decay": 0.1}, result)
        return partner and f"{partner} and weight_decay"
    return partner


def _jointly(spec: OptimizerSpec, name: str, values: Mapping[str, Any], result: Result) -> str | None:
    """The first other knob beside whose other value this one acts."""
    for partner, value in values.items():
        if partner == name:
            continue
        for moved in variations(partner, value):
            context = _with(spec, partner, moved)
            plain = {scale: result(context, scale, STEPS) for scale in SCALES[:2]} if context else {}
            if any(before is not None for before in plain.values()):
                assert context
                if any(
                    _acts(context, name, v, result, plain, False)[1]
                    for v in islice(variations(name, values[name]), FEW)
                ):
                    return partner
                break  # one accepted value of a partner is enough
    return None


def _with(spec: OptimizerSpec, name: str, value: Any) -> OptimizerSpec | None:
    try:
        return spec.having(**{name: value})
    except UsageError:
        return None
