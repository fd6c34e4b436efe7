"""What any optimizer has to keep to, as checks on a small stack of replicas: its own bits, state, knobs and promises.

The replicas' gradients are given (fixed random numbers), so that nothing but the optimizer acts, except in `runs`.

Shapes: E replicas, P parameters of a replica.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from enum import Enum
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from grokbench.conformance import decay
from grokbench.conformance.knobs import dead_knobs, knobs, numeric
from grokbench.conformance.rig import (
    REPLICAS,
    SIZE,
    SLICES,
    STEPS,
    ConformanceError,
    give,
    noise,
    restored,
    run_of,
    same,
    step,
    torch_optimizer,
    trajectory,
    weights,
    with_spectrum,
)
from grokbench.spec import OptimizerSpec, UsageError, registry

# Singular values of Muon's updates lie in [0.68, 1.21] times their scale where those of the gradient are at least
# 0.003 of its Frobenius norm (Jordan et al. 2024, five steps), so the largest is at most 1.78 times the smallest. A
# twentieth is allowed for products in bfloat16. A plug-in promises a ratio by its attribute `grokbench_condition`.
CONDITION = 1.05 * 1.21 / 0.68
GRADIENT_CONDITION = 20.0
STATE_STEPS = 25  # before a checkpoint, and after
EPOCHS = 8  # of two steps; some optimizers stand still in the first few


class Outcome(Enum):
    HOLDS = "holds"
    BREAKS = "breaks"
    SAID = "said"  # nothing is right or wrong about it
    SKIPPED = "does not apply"


class Finding(NamedTuple):
    """What a check of this name found, and why."""

    check: str
    outcome: Outcome
    text: str


class NotApplicableError(Exception):
    """Raised by a check that does not apply; its text says why."""


def _runs(spec: OptimizerSpec) -> str:
    """Epochs of a real task, stacked, with finite weights that move."""
    from grokbench.engine.ensemble import Ensemble

    ensemble = Ensemble(run_of(spec), 2, torch.device("cpu"))
    for slot in range(2):
        ensemble.load(slot, run_of(spec, slot))
    before = [ensemble.weights(slot) for slot in range(2)]
    for _ in range(EPOCHS):
        ensemble.epoch()
    for slot, old in enumerate(before):
        new = ensemble.weights(slot)
        if still := [name for name, w in new.items() if torch.equal(w, old[name])]:
            raise ConformanceError(f"{len(still)} of {len(new)} parameters never move, {still[0]} among them")
        if wild := [name for name, w in new.items() if not w.isfinite().all()]:
            raise ConformanceError(f"{wild[0]} is not finite after {EPOCHS} epochs")
    return f"two stacked replicas train for {EPOCHS} epochs"


def _independent(spec: OptimizerSpec) -> str:
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
    return "bits depend on neither the gradients nor the number of other replicas"


def _deterministic(spec: OptimizerSpec) -> str:
    first = trajectory(spec, noise())
    trajectory(spec, noise(seed=3))
    if not same(first, trajectory(spec, noise())):
        raise ConformanceError(
            "the same gradients give other weights the second time: something outlives the optimizer"
        )
    return "the same weights again, after another run in between"


def _finite(spec: OptimizerSpec) -> str:
    zero = torch.zeros(1, REPLICAS, SIZE, dtype=torch.float64)
    ordinary = noise(2)
    sparse = ordinary * (torch.arange(SIZE) % 5 == 0)
    cases = {
        "zero": zero.expand(3, -1, -1),
        "tiny (1e-30)": noise(3, scale=1e-30),
        "zero after ordinary": torch.cat([ordinary, zero.expand(3, -1, -1)]),
        "mostly zero": sparse,
    }
    for name, gradients in cases.items():
        if not trajectory(spec, gradients, len(gradients)).isfinite().all():
            raise ConformanceError(f"{name} gradients make weights that are not finite")
    return "after zero and tiny gradients too"


def _gradients(spec: OptimizerSpec) -> str:
    if spec.name in registry.BUILT_IN:
        trajectory(spec, noise(), untouched=True)
        return "gradients are left as they are"
    named, optimizer = torch_optimizer(spec)
    listed = [name for name, _ in named]
    gradients = noise()
    for t in range(STEPS):
        give(named, gradients[t, 0])
        given = {name: p.grad for name, p in named if p.grad is not None}
        before = {name: g.clone() for name, g in given.items()}
        step(spec, optimizer, t)
        for name, g in given.items():
            if not same(g, before[name]):
                raise ConformanceError(f"step {t + 1} writes into the gradient of {name}")
    if [name for name, _ in named] != listed:
        raise ConformanceError("it changes the list of parameters that it is given")
    return "gradients and parameter lists are left as they are"


def _state(spec: OptimizerSpec) -> str:
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: its state lies in the stack, and has no state_dict")
    half = STATE_STEPS
    gradients = noise(2 * half)
    named, optimizer = torch_optimizer(spec)
    for t in range(half):
        give(named, gradients[t, 0])
        step(spec, optimizer, t)
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    copies, second = restored(spec, named, torch.load(file, weights_only=False))
    for t in range(half, 2 * half):
        for parameters, own in ((named, optimizer), (copies, second)):
            give(parameters, gradients[t, 0])
            step(spec, own, t)
        for (name, p), (_, q) in zip(named, copies, strict=True):
            if not same(p, q):
                raise ConformanceError(f"after a round trip of the state, {name} differs in step {t + 1 - half}")
    return f"saved, loaded into a new one and stepped on {half} times: the same bits"


def _knobs(spec: OptimizerSpec) -> str:
    values, own = knobs(spec), dict(spec.hyperparameters)
    if "adamw_lr" in own and own.get("adamw_weight_decay") is None:
        # Else the decay of what is left to AdamW follows weight_decay, and would stand for it.
        spec = spec.having(adamw_weight_decay=own.get("weight_decay") or 0.0)
    count = sum(map(numeric, values.values()))
    if not count:
        raise NotApplicableError("it has no numeric hyperparameter")

    def outcome(changed: OptimizerSpec, scale: float, steps: int) -> Tensor | None:
        """(E, P) the weights after these steps; None where they are not finite, or the values are refused."""
        start = weights(1)
        try:
            # Once more from its text, which checks the values of a built-in optimizer.
            checked = registry.parse(str(changed))
            end = trajectory(checked, noise(steps, 1, scale), steps, start)[-1]
        except UsageError:
            return None
        return end if end.isfinite().all() else None

    dead, stuck, joint = dead_knobs(spec, values, outcome)
    notes = [f"{name} only together with {other}" for name, other in joint.items()]
    notes += [f"no other value of {name} was accepted" for name in stuck]
    if dead:
        raise ConformanceError("; ".join([f"changes nothing: {', '.join(dead)}", *notes]))
    return "; ".join([f"each of {count} changes the weights", *notes])


def _weight_decay(spec: OptimizerSpec) -> str:
    values = knobs(spec)
    if "weight_decay" not in values:
        raise NotApplicableError("it has no weight_decay")
    given = values["weight_decay"]
    return decay.described(spec, float(str(given)) if numeric(given) and given else 0.1, values.get("lr"))


def _spectrum(spec: OptimizerSpec) -> str:
    built_in = registry.BUILT_IN.get(spec.name)
    if built_in and not (built_in.matrices and spec["orthogonalize"]):
        raise NotApplicableError("it promises no spectrum")
    if not built_in and not spec.matrices_only:
        raise NotApplicableError("it is not declared for matrices")
    promised = CONDITION if built_in else getattr(registry.load(spec.name), "grokbench_condition", None)
    row = torch.zeros(1, 1, SIZE, dtype=torch.float64)
    for i, s in enumerate(SLICES):
        if s.hidden:
            matrix = with_spectrum(s.shape, np.geomspace(1, 1 / GRADIENT_CONDITION, min(s.shape)), seed=i)
            row[0, 0, s.offset : s.offset + s.size] = matrix.flatten()
    # Weights so small that no decay of theirs is seen.
    states = trajectory(spec, row.expand(STEPS, -1, -1), STEPS, 1e-9 * weights(1))
    worst = max((float(v[0] / v[-1].clamp(min=1e-300)), name) for name, v in _updates(states).items())
    seen = f"largest over smallest singular value of an update of {worst[1]} is {worst[0]:.3g}"
    if promised is None:
        return f"{seen}; no ratio is promised"
    if not worst[0] <= float(promised):
        raise ConformanceError(f"{seen}, not {float(promised):.3g} at the most")
    return f"{seen}, {float(promised):.3g} at the most"


def _updates(states: Tensor) -> dict[str, Tensor]:
    """By hidden matrix, the singular values of the first update that is not zero."""
    found = {}
    for s in SLICES:
        if s.hidden:
            matrices = states[:, 0, s.offset : s.offset + s.size].double().reshape(-1, *s.shape).diff(dim=0)
            moved = [m for m in matrices if m.any()]
            if not moved:
                raise ConformanceError(f"{s.name} never moves")
            found[s.name] = torch.linalg.svdvals(moved[0])
    return found


CHECKS: dict[str, Callable[[OptimizerSpec], str]] = {
    "runs": _runs,
    "deterministic": _deterministic,
    "independent": _independent,
    "finite": _finite,
    "gradients untouched": _gradients,
    "state_dict": _state,
    "no dead knobs": _knobs,
    "weight decay": _weight_decay,
    "spectrum": _spectrum,
}


def examine(spec: OptimizerSpec, check: str) -> Finding:
    """One check of an optimizer."""
    try:
        text = CHECKS[check](spec)
    except NotApplicableError as reason:
        return Finding(check, Outcome.SKIPPED, str(reason))
    except (ConformanceError, UsageError) as reason:
        return Finding(check, Outcome.BREAKS, str(reason))
    said = check == "weight decay" or text.endswith("is promised")
    return Finding(check, Outcome.SAID if said else Outcome.HOLDS, text)


def conformance(spec: OptimizerSpec) -> Iterator[Finding]:
    """All checks of an optimizer; after one that cannot train at all, none of the others."""
    first, *others = CHECKS
    found = examine(spec, first)
    yield found
    if found.outcome is not Outcome.BREAKS:
        for check in others:
            yield examine(spec, check)
