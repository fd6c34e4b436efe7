"""How an optimizer's weight decay acts: decoupled from the gradient, coupled, or otherwise."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from grokbench.conformance.knobs import knobs, numeric
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import SLICES, STEPS, noise, trajectory, weights
from grokbench.models.transformer import Slice
from grokbench.spec import OptimizerSpec, UsageError, registry

GROWTH = 0.5  # cosine between the weights and what decay adds to them, from which on it is growth


def described(spec: OptimizerSpec) -> Seen:
    """What its weight_decay does. Raises `ConformanceError` if that is nothing, or if the weights grow by it.

    It is decoupled where every step takes a share of the weights beside what it does without decay, and coupled where
    the steps are those of the gradient + decay · weights.
    """
    values = knobs(spec)
    if "weight_decay" not in values:
        raise NotApplicableError("it has no weight_decay")
    given, lr = values["weight_decay"], values.get("lr")
    decay = float(str(given)) if numeric(given) and given else 0.1
    with_, without = (spec.having(weight_decay=value) for value in (decay, 0.0))
    gradients, start, steps = noise(STEPS, 1), weights(1), STEPS
    try:
        ran = trajectory(with_, gradients, steps, start, torch.float64)
    except UsageError as error:
        return Seen(f"not looked at, since it fails in float64: {error}", CheckOutcome.SAID)
    plain = trajectory(without, gradients, steps, start, torch.float64)
    moved = (ran != plain).any(0)[0]
    built_in = registry.BUILT_IN.get(spec.name)
    split = built_in.matrices if built_in else spec.matrices_only  # the rest has AdamW's decay
    moved &= torch.cat([torch.full((s.size,), s.hidden or not split) for s in SLICES])
    if not moved.any():
        raise ConformanceError(f"a weight_decay of {decay:g} changes nothing")
    places = [s for s in SLICES if moved[s.offset : s.offset + s.size].any()]
    which = "all parameters" if len(places) == len(SLICES) else _which(places)

    def follows(sign: int) -> bool:
        """Whether it takes the steps of the gradient + sign · decay · weights."""

        def regularised(t: int, w: Tensor) -> Tensor:
            return gradients[t] + sign * decay * w * moved

        return _close(trajectory(without, regularised, steps, start, torch.float64), ran, plain)

    coupled = follows(1)
    updates = plain[1:] - plain[:-1]
    elsewhere = trajectory(without, gradients, steps, weights(1, seed=5), torch.float64)
    free = bool(torch.allclose(elsewhere[1:] - elsewhere[:-1], updates, rtol=1e-6, atol=1e-12))
    shares = _shares(ran, updates, moved) if free else None
    if shares is not None:
        if min(shares) < 0:
            raise ConformanceError(f"a step adds {-min(shares):.3g} of {which}: they grow, so its sign is wrong")
        return Seen(
            f"decoupled: a step takes {_rate(shares[-1], lr, decay)} of {which}"
            + ", which here is coupled, too" * coupled,
            CheckOutcome.SAID,
        )
    if coupled:
        return Seen(f"coupled: added to the gradient of {which}", CheckOutcome.SAID)
    if follows(-1) or _cosine((ran[1] - plain[1])[0, moved], start[0, moved]) > GROWTH:
        raise ConformanceError(f"it is taken from the gradient of {which}: they grow, so its sign is wrong")
    why = "" if free else "; its updates depend on the weights"
    return Seen(f"neither decoupled nor coupled, as far as can be seen, on {which}{why}", CheckOutcome.SAID)


def _rate(share: float, lr: object, decay: float) -> str:
    """The share of the weights that a step takes, by its name where it has one."""
    if numeric(lr) and np.isclose(share, float(str(lr)) * decay, rtol=1e-2):
        return "lr · weight_decay"
    return "weight_decay" if np.isclose(share, decay, rtol=1e-2) else f"{share:.3g}"


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()).clamp(min=1e-300))


def _which(places: list[Slice]) -> str:
    matrices, hidden = all(len(s.shape) == 2 for s in places), all(s.hidden for s in places)
    return "the hidden matrices" if hidden else "matrices" if matrices else f"{len(places)} parameters"


def _close(a: Tensor, b: Tensor, origin: Tensor) -> bool:
    """Whether two trajectories differ by little of what sets the second apart from a third."""
    return float((a - b).abs().max()) <= 1e-3 * float((b - origin).abs().max())


def _shares(ran: Tensor, updates: Tensor, moved: Tensor) -> list[float] | None:
    """The share of the weights that each step takes, before or after the update; None if that is not what happens."""
    for after in (False, True):
        shares = []
        for t, update in enumerate(updates):
            base = (ran[t] + update * after)[0, moved]
            gone = (ran[t + 1] - ran[t] - update)[0, moved]
            share = -float((base @ gone) / (base @ base))
            if float((gone + share * base).norm()) > 1e-3 * float(gone.norm()) + 1e-15:
                break
            shares.append(share)
        else:
            return shares
    return None
