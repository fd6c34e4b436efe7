"""How large the updates of an optimizer are: step by step, over the gradients' scale, and by shape."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from grokbench.conformance.knobs import knobs
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, Seen
from grokbench.conformance.rig import PATIENT, SLICES, Replica, noise, trajectory, weights
from grokbench.spec import OptimizerSpec, registry

AT = (1, 10, 100, 1000)
SCALES = (1e-12, 1e-6, 1e-3, 1.0, 1e3, 1e6)
FIRST = 10  # steps at each scale
JUMP, SETTLED = 1.5, 20  # a factor between two steps that is said, and from which step on
ALIKE = 1.01  # a factor below which sizes are one
SMALL = 1e-9  # weights so small that no update of theirs is lost to rounding


def over_steps(spec: OptimizerSpec) -> Seen:
    """The root mean square of the updates at steps 1, 10, 100 and 1000, where every gradient is the same.

    A bias correction that is missing shows in the first, a sum where an average is meant in the later ones, and the end
    of a schedule in a jump between two steps. Without decay. For an optimizer of matrices, these alone.
    """
    sizes = _updates(spec, 0.1, max(AT))
    if wild := [t for t, size in enumerate(sizes, 1) if not math.isfinite(size)]:
        # A loss that falls for ever has no smallest value, so an estimate of the distance to it may well overflow.
        if step := _overflows(spec):
            raise ConformanceError(
                f"not finite from step {step} on, even where gradients are bounded and lead towards zero: "
                "is anything divided by a power that vanishes?"
            )
        return Seen(f"not finite from step {wild[0]} on, where every gradient is the same", CheckOutcome.SAID)
    said = ", ".join(f"{sizes[t - 1]:.3g}" for t in AT)
    text = f"root mean square of the updates at steps {', '.join(map(str, AT))}: {said}"
    factors = [(b / a if a else 1.0, t + 2) for t, (a, b) in enumerate(itertools.pairwise(sizes))]
    jumps = [(f, t) for f, t in factors[SETTLED:] if f > JUMP or f < 1 / JUMP]
    if jumps:
        factor, t = max(jumps, key=lambda jump: abs(math.log(max(jump[0], 1e-300))))
        text += f"; they jump, by {factor:.3g} in step {t}" + f", and in {len(jumps) - 1} more" * (len(jumps) > 1)
    return Seen(text, CheckOutcome.SAID)


def _overflows(spec: OptimizerSpec) -> int:
    """The step from which on weights are not finite on the gradients of a bounded loss; 0 if they are."""
    if spec.name in registry.BUILT_IN:
        return 0
    one = Replica(spec, tiny=True)
    for row in noise(max(AT), 1)[:, 0]:
        one.pull(row)
        one.step()
        if not all(bool(p.isfinite().all()) for p in one.parameters):
            return one.count
    return 0


def over_scales(spec: OptimizerSpec) -> Seen:
    """The same at step 10, for gradients from 1e-12 to 1e6: whether updates follow the gradients' size."""
    sizes = {scale: _updates(spec, scale, FIRST)[-1] for scale in SCALES}
    wild = [f"{scale:g}" for scale, size in sizes.items() if not math.isfinite(size)]
    if wild:
        return Seen(f"not finite for gradients of {', '.join(wild)}", CheckOutcome.SAID)
    ratios = [size / scale for scale, size in sizes.items()]
    if max(sizes.values()) <= ALIKE * min(sizes.values()):
        text = f"the same size for gradients from {SCALES[0]:g} to {SCALES[-1]:g}"
    elif max(ratios) <= ALIKE * min(ratios):
        text = f"in proportion to the gradients, from {SCALES[0]:g} to {SCALES[-1]:g}"
    else:
        text = f"at step {FIRST}, " + ", ".join(f"{size:.3g} for {scale:g}" for scale, size in sizes.items())
    return Seen(text, CheckOutcome.SAID)


def by_shape(spec: OptimizerSpec) -> Seen:
    """The size of the first update that moves, for square, tall and wide matrices and for vectors."""
    gradient = noise(1, 1).expand(PATIENT, -1, -1)
    updates = trajectory(_without_decay(spec), gradient, PATIENT, SMALL * weights(1)).double()[:, 0].diff(dim=0)
    sizes: dict[str, float] = {}
    for s in SLICES:
        if s.hidden or not spec.matrices_only:
            own = updates[:, s.offset : s.offset + s.size]
            moved = own[own.any(dim=1)]
            out, into = s.shape if len(s.shape) == 2 else (0, 0)
            kind = "vector" if not out else "square" if out == into else "tall" if out > into else "wide"
            if len(moved) and (s.hidden or not out):
                sizes.setdefault(kind, float(moved[0].square().mean().sqrt()))
    if not sizes:
        raise ConformanceError(f"nothing moves in {PATIENT} steps")
    if max(sizes.values()) <= 1.1 * min(sizes.values()):
        return Seen(
            f"root mean square of the first update: {max(sizes.values()):.3g} in every shape", CheckOutcome.SAID
        )
    said = ", ".join(f"{kind} {size:.3g}" for kind, size in sizes.items())
    return Seen(f"root mean square of the first update: {said}", CheckOutcome.SAID)


def _without_decay(spec: OptimizerSpec) -> OptimizerSpec:
    return spec.having(weight_decay=0.0) if "weight_decay" in knobs(spec) else spec


def _updates(spec: OptimizerSpec, scale: float, steps: int) -> list[float]:
    """The root mean square of each of these updates, where every gradient is the same."""
    spec = _without_decay(spec)
    gradient = noise(1, 1, scale)[0]
    if spec.name in registry.BUILT_IN:
        built_in = registry.BUILT_IN[spec.name]
        states = trajectory(spec, gradient.expand(steps, -1, -1), steps, SMALL * weights(1)).double()[:, 0]
        chosen = torch.cat([torch.full((s.size,), s.hidden or not built_in.matrices) for s in SLICES])
        return [float(size) for size in states[:, chosen].diff(dim=0).square().mean(1).sqrt()]
    one = Replica(spec, tiny=True)
    found, last = [], _weights(one, SMALL)
    for _ in range(steps):
        one.give(gradient[0])
        one.step()
        now = _weights(one)
        found.append(float((now - last).square().mean().sqrt()))
        last = now
    return found


def _weights(one: Replica, factor: float = 1.0) -> Tensor:
    """(P,) float64, after they are scaled in place by a factor."""
    with torch.no_grad():
        for p in one.parameters:
            p.mul_(factor)
    return torch.cat([p.detach().double().flatten() for p in one.parameters])
