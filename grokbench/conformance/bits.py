"""Whether an optimizer's bits are its own: the same every time, and whatever its neighbours do."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from grokbench.conformance.outcome import ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import Replica, frame, noise, same, trajectory, weights
from grokbench.optim.adapter import build
from grokbench.spec import OptimizerSpec, registry

GLOBAL: dict[str, Callable[[], Any]] = {"random": random.getstate, "numpy.random": np.random.get_state}
SEEDED = GLOBAL | {"torch": lambda: torch.default_generator.get_state().tolist()}
GENERATORS = (random.Random, np.random.Generator, np.random.RandomState, torch.Generator)


def deterministic(spec: OptimizerSpec) -> Seen:
    before = {name: repr(state()) for name, state in GLOBAL.items()}
    first = trajectory(spec, noise())
    trajectory(spec, noise(seed=3))
    if not same(first, trajectory(spec, noise())):
        drawn = [name for name, state in GLOBAL.items() if repr(state()) != before[name]] + _own(spec)
        if drawn:
            cause = f"it draws from {', '.join(drawn)}, which no run seeds: use torch's own generator"
        else:
            cause = "something outlives the optimizer, or it reads what no run sets, as a clock or default_rng()"
        raise ConformanceError(f"the same gradients give other weights the second time: {cause}")
    return Seen("the same weights again, after another run in between")


def generators(spec: OptimizerSpec) -> Seen:
    """Whether it leaves the global generators going: one that is seeded anew gives a loop the same dropout again."""
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: it draws nothing")
    one = Replica(spec, tiny=True)
    one.give(noise(1, 1)[0, 0])
    kept = random.getstate(), np.random.get_state()
    try:
        for when, act in (("when it is made", lambda: build(spec, list(one.named))), ("in a step", one.optimizer.step)):
            ends = []
            for seed in (1, 2):
                with frame(spec, one.count):
                    torch.default_generator.manual_seed(seed)
                    np.random.seed(seed)
                    random.seed(seed)
                    act()
                    ends.append({name: repr(state()) for name, state in SEEDED.items()})
            if again := [name for name in SEEDED if ends[0][name] == ends[1][name]]:
                raise ConformanceError(
                    f"{when} it seeds {', '.join(again)} anew, so that whatever else draws from there repeats itself: "
                    "use a generator of its own"
                )
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
    return Seen("the global generators are not seeded anew")


def _own(spec: OptimizerSpec) -> list[str]:
    """Generators that a plug-in keeps in itself, its groups, its state or its module, and that a step draws from."""
    if spec.name in registry.BUILT_IN:
        return []
    one = Replica(spec, tiny=True)
    module = inspect.getmodule(registry.load(spec.name))
    kept, steps = dict[str, tuple[object, str]](), noise(2, 1)
    for row in steps[:, 0]:  # the first may be the one that makes it
        optimizer = one.optimizer
        places = [vars(optimizer), *optimizer.param_groups, *optimizer.state.values(), vars(module) if module else {}]
        for place in places:
            kept |= {
                str(name): (value, _state(value)) for name, value in place.items() if isinstance(value, GENERATORS)
            }
        one.give(row)
        one.step()
    return sorted(
        f"a {type(value).__module__}.{type(value).__name__} of its own ({name})"
        for name, (value, before) in kept.items()
        if _state(value) != before
    )


def _state(generator: Any) -> str:
    """All that a generator will give, in one text."""
    if isinstance(generator, np.random.Generator):
        return repr(generator.bit_generator.state)
    state = generator.getstate() if isinstance(generator, random.Random) else generator.get_state()
    return repr(state.tolist() if isinstance(state, torch.Tensor) else state)


def independent(spec: OptimizerSpec) -> Seen:
    gradients = noise()
    together = trajectory(spec, gradients)
    changed = gradients.clone()
    changed[:, 1] = noise(seed=2)[:, 1]
    other = trajectory(spec, changed)
    for slot in (0, 2):
        if not same(together[:, slot], other[:, slot]):
            raise ConformanceError("another gradient of one replica changes the weights of its neighbours")
    if same(together[:, 1], other[:, 1]):
        raise ConformanceError("another gradient changes nothing")
    lone = trajectory(spec, gradients[:, :1], start=weights()[:1])
    if not same(together[:, 0], lone[:, 0]):
        raise ConformanceError("a replica's bits alone are not those in company")
    return Seen("bits depend on neither the gradients nor the number of other replicas")
