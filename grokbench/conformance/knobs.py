"""The hyperparameters of an optimizer, and which of them change nothing, whatever they are set to."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import SLICES, noise, trajectory, walk, weights
from grokbench.models.transformer import placed, row_size
from grokbench.spec import OptimizerSpec, UsageError, registry

# Ordinary gradients; such that a stabilising ε is felt; such that clipping is.
SCALES = (0.1, 1e-8, 100.0)
MIXED = 0.0  # stands for ordinary gradients of some parameters and small ones of the others
STEPS, MANY_STEPS = 12, 120  # at first; for what acts late, or seldom
# A square, a tall and a wide matrix that are hidden, one that is not, and a vector: fewer than the models have, since
# a knob that does nothing takes hundreds of runs to show it. In each kind of the mixed gradients some are small.
FEW = placed(
    (s.name, s.shape, s.hidden)
    for s in SLICES
    if s.name.endswith(("query.weight", "up.weight", "down.weight", "embedding.weight")) or s.name == "norm.weight"
)
# Names of knobs that may be large: rates, ε, decay. Any other number in [0, 1) is taken as a share, as a momentum is,
# and so is one of at least a half, whatever its name: a decay_rate of 0.9 is a share.
SCALE_LIKE = re.compile(r"lr|rate|eps|decay|\bwd\b|l2", re.I)
LARGE_SHARE = 0.5
LARGE_COUNT = 64  # more than any parameter here has rows
# Switches of torch's own that act on speed, or on what may be done with the graph.
SPEED = ("foreach", "fused", "capturable", "differentiable")
TRIES = 2  # values to try of what changes nothing at first


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
    dead, stuck, joint = _Search(spec, values).found()
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


def _choices(spec: OptimizerSpec) -> dict[str, tuple[str, ...]]:
    """The other values of its texts, where an annotation as `Literal` tells them."""
    if spec.name in registry.BUILT_IN:
        return {}
    made = registry.load(spec.name)
    try:
        hints = typing.get_type_hints(made.__init__ if inspect.isclass(made) else made)
    except Exception:  # what stands in an annotation, foreign code can get wrong in any way
        return {}
    found = {}
    for name, value in spec.hyperparameters:
        hint = hints.get(name)
        if isinstance(value, str) and typing.get_origin(hint) is typing.Literal:
            found[name] = tuple(v for v in typing.get_args(hint) if isinstance(v, str) and v != value)
    return found


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
        near = (value + 1, max(1, value - 1))
        if not value:
            near = (4, 1)  # 0 is none, and of some things one is none, too
        elif value > LARGE_COUNT:
            near = (4, value // 2)  # it may be a size that nothing here has
        fewer = (value // 4,) if value > 4 else ()  # as of bits, of which most numbers are refused
        yield from (v for v in (*near, value + 1, 2 * value + 1, 4, *fewer) if v != value)
    elif isinstance(value, float):
        large = () if inside else (value * 100,)
        close = (1 - (1 - value) * 0.99,) if inside else (value * 1.01,)
        yield from (v for v in (value / 2, 0.1, *close, *large, 1e-3, 0.9) if v != value)


class Course:
    """The weights after each step of an optimizer, computed as far as they are asked for."""

    def __init__(self, states: Iterator[Tensor]) -> None:
        self._states, self._seen = states, list[Tensor]()

    def at(self, step: int) -> Tensor | None:
        """(E, P) the weights after so many steps; None where they are not finite, or the optimizer fails."""
        try:
            while len(self._seen) <= step:
                self._seen.append(next(self._states))
        except (UsageError, StopIteration):
            return None
        return self._seen[step] if self._seen[step].isfinite().all() else None

    def parts_from(self, other: Course, steps: int) -> bool | None:
        """Whether it has other weights within these steps; None where one of the two does not get as far."""
        for step in range(1, steps + 1):
            one, two = self.at(step), other.at(step)
            if one is None or two is None:
                return None
            if not torch.equal(one, two):
                return True
        return False


class _Search:
    """For the knobs of an optimizer that change nothing.

    values: of the knobs, and of the switches and Nones beside which they might act.
    """

    def __init__(self, spec: OptimizerSpec, values: Mapping[str, Any]) -> None:
        self.spec, self.values, self.dtype = spec, values, _precision(spec)
        self.texts = _choices(spec)
        self._courses: dict[tuple[OptimizerSpec, float], Course] = {}

    def found(self) -> tuple[list[str], list[str], dict[str, str]]:
        """Knobs that change nothing; those that take no other value; those that act beside another one, with it."""
        dead: list[str] = []
        stuck: list[str] = []
        silent: list[str] = []
        for name, value in self.values.items():
            if not _is_knob(value):
                continue
            if isinstance(value, list | tuple) and len(value) > 1:
                places = [i for i in range(len(value)) if self._is_dead(name, value, i)]
                if places and len(places) < len(value):
                    dead += [f"{name}[{i}]" for i in places]
                    continue
            acts = self._acts(self.spec, name, variations(name, value), SCALES, STEPS)
            if acts is None:
                stuck.append(name)
            elif not acts:
                silent.append(name)
        late = self._acting(self.spec, silent, SCALES[0], MANY_STEPS)
        silent = [name for name in silent if name not in late]
        joint: dict[str, str] = {}
        for partner, context in self._contexts(silent):
            others = [name for name in silent if name not in (*joint, *partner.split(" and "))]
            joint |= dict.fromkeys(self._acting(context, others, MIXED, STEPS), partner)
            if len(joint) == len(silent):
                break
        return dead + [name for name in silent if name not in joint], stuck, joint

    def _acts(
        self, spec: OptimizerSpec, name: str, others: Iterable[Any], scales: Iterable[float], steps: int
    ) -> bool | None:
        """Whether any of these values changes the weights at any scale; None if none is accepted."""
        plain = [(scale, before) for scale in scales if (before := self._course(spec, scale)).at(steps) is not None]
        seen = None
        for other in others:
            changed = _with(spec, **{name: other})
            for scale, before in plain if changed else ():
                assert changed
                parted = self._course(changed, scale).parts_from(before, steps)
                if parted:
                    return True
                seen = parted if seen is None else seen
        return seen

    def _course(self, spec: OptimizerSpec, scale: float) -> Course:
        key = spec, scale
        if key not in self._courses:
            self._courses[key] = Course(_weights_of(spec, scale, self.dtype))
        return self._courses[key]

    def _is_dead(self, name: str, value: Any, place: int) -> bool:
        """Whether other numbers in this place of a row are accepted and change nothing, at first or later."""
        rows = [(*value[:place], other, *value[place + 1 :]) for other in variations(name, value[place])]
        return self._acts(self.spec, name, rows, SCALES, STEPS) is False and not self._acts(
            self.spec, name, rows[:TRIES], SCALES[:1], MANY_STEPS
        )

    def _acting(self, spec: OptimizerSpec, names: list[str], scale: float, steps: int) -> list[str]:
        """Those of these knobs that change the weights. If all of them together do not, none is looked at by itself."""
        tries = {name: list(islice(self._accepted(name), TRIES)) for name in names}
        if len(names) > 1:
            plain, together = self._course(spec, scale), []
            for i in range(TRIES):
                every = _with(spec, **{name: own[min(i, len(own) - 1)] for name, own in tries.items() if own})
                together.append(self._course(every, scale).parts_from(plain, steps) if every else None)
            if not any(parted or parted is None for parted in together):
                return []
        return [name for name, own in tries.items() if self._acts(spec, name, own, (scale,), steps)]

    def _accepted(self, name: str) -> Iterator[Any]:
        """Other values of a knob that the optimizer takes by themselves."""
        for other in variations(name, self.values[name]):
            changed = _with(self.spec, **{name: other})
            if changed and self._course(changed, SCALES[0]).at(STEPS) is not None:
                yield other

    def _contexts(self, silent: list[str]) -> Iterator[tuple[str, OptimizerSpec]]:
        """What else is changed, by name, with the optimizer: each knob, and then each beside decay, if it has none.

        With decay the rate is another one, too: at a rate of 1, whether decay is multiplied by it cannot be seen.
        """
        if silent:
            for partner, spec in self._moved(self.spec):
                yield partner, spec
            decaying = _with(self.spec, weight_decay=0.1) if self.values.get("weight_decay") == 0 else None
            if decaying and isinstance(rate := self.values.get("lr"), float):
                decaying = _with(decaying, lr=rate / 2)
            for partner, spec in self._moved(decaying) if decaying else ():
                if partner != "weight_decay":
                    yield f"{partner} and weight_decay", spec

    def _moved(self, spec: OptimizerSpec) -> Iterator[tuple[str, OptimizerSpec]]:
        """The optimizer with one accepted other value of each number or switch, and with all of each text."""
        for partner, moves in {**{n: variations(n, v) for n, v in self.values.items()}, **self.texts}.items():
            for moved in moves:
                context = _with(spec, **{partner: moved})
                if context and self._course(context, MIXED).at(STEPS) is not None:
                    yield partner, context
                    if partner not in self.texts:
                        break


def _weights_of(spec: OptimizerSpec, scale: float, dtype: torch.dtype) -> Iterator[Tensor]:
    """The weights step by step, on few parameters. Raises `UsageError` for values that are refused."""
    if spec.name in registry.BUILT_IN:
        spec = registry.parse(str(spec))  # which checks them
    gradients = _gradients(scale)
    yield from walk(spec, gradients, MANY_STEPS, weights(1)[:, : gradients.shape[-1]], dtype, slices=FEW)


@functools.lru_cache(maxsize=len(SCALES) + 1)
def _gradients(scale: float) -> Tensor:
    """(steps, 1, P) for the few parameters."""
    sizes = torch.full((row_size(FEW),), scale or SCALES[0], dtype=torch.float64)
    for s in FEW[1::2] if scale == MIXED else ():
        sizes[s.offset : s.offset + s.size] = SCALES[1]
    return noise(MANY_STEPS, 1, 1.0)[..., : len(sizes)] * sizes


def _with(spec: OptimizerSpec, **values: Any) -> OptimizerSpec | None:
    try:
        return spec.having(**values)
    except UsageError:
        return None
