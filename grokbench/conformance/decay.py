"""How an optimizer's weight decay acts: decoupled from the gradient, coupled, or otherwise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from grokbench.conformance.knobs import knobs, numeric
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import SLICES, noise, trajectory, weights
from grokbench.models.transformer import Slice
from grokbench.spec import OptimizerSpec, UsageError, registry

STEPS = 26  # so that what happens in every twelfth step happens twice
GROWTH = 0.5  # cosine between the weights and what decay adds to them, from which on it is growth
CLOSE = 1e-3  # of what is compared, where numbers are in float64
# Where one part of a decay is taken from weights that the other has already made smaller; and after the first steps, in
# which that alone can turn a sign.
NEAR, SETTLED = 0.1, 4
SINGLE = 2.0**-23  # relative rounding of float32


def described(spec: OptimizerSpec) -> Seen:
    """What its weight_decay does. Raises `ConformanceError` if that is nothing, or what no decay should do.

    It is decoupled where a step takes a share of the weights beside what it does without decay, and coupled where the
    steps are those of the gradient + decay · weights.
    """
    values = knobs(spec)
    if "weight_decay" not in values:
        raise NotApplicableError("it has no weight_decay")
    given, lr = values["weight_decay"], values.get("lr")
    decay = float(str(given)) if numeric(given) and given else 0.1
    rate = float(str(lr)) * decay if numeric(lr) else None
    try:
        found = _Decay(spec, decay)
    except UsageError as error:
        return Seen(f"not looked at, since it fails in float64: {error}", CheckOutcome.SAID)
    return found.described(rate)


class _Taken(NamedTuple):
    """What each step takes beside its update: shares of the weights, of those before the update or after it."""

    shares: list[float]
    when: str
    error: float


class _Decay:
    """An optimizer with its decay and without, on the same gradients."""

    def __init__(self, spec: OptimizerSpec, decay: float) -> None:
        self.decay, self.gradients, self.start = decay, noise(STEPS, 1), weights(1)
        if "adamw_weight_decay" in dict(spec.hyperparameters):
            spec = spec.having(adamw_weight_decay=0.0)  # of the parameters that are left to AdamW
        self.with_, self.without = (spec.having(weight_decay=value) for value in (decay, 0.0))
        self.ran = self._steps(self.with_, self.gradients)
        self.plain = self._steps(self.without, self.gradients)
        moved = (self.ran != self.plain).any(0)[0]
        built_in = registry.BUILT_IN.get(spec.name)
        split = built_in.matrices if built_in else spec.matrices_only  # the rest has AdamW's decay
        self.moved = moved & torch.cat([torch.full((s.size,), s.hidden or not split) for s in SLICES])
        # Where it computes in float32 inside, its results are such numbers, and round as these do.
        coarse = bool((self.ran[1:] == self.ran[1:].float()).all())
        self.rounding = (4 if coarse else 0.01) * SINGLE

    def _steps(self, spec: OptimizerSpec, gradient: object, start: Tensor | None = None) -> Tensor:
        return trajectory(spec, gradient, STEPS, self.start if start is None else start, torch.float64)  # type: ignore[arg-type]

    def described(self, rate: float | None) -> Seen:
        moved, plain = self.moved, self.plain
        if not moved.any():
            raise ConformanceError(f"a weight_decay of {self.decay:g} changes nothing")
        places = [s for s in SLICES if moved[s.offset : s.offset + s.size].any()]
        which = "all parameters" if len(places) == len(SLICES) else _which(places)
        coupled = self._follows(1)
        updates = plain[1:] - plain[:-1]
        elsewhere = self._steps(self.without, self.gradients, weights(1, seed=5))
        allowed = 1e-12 + 1e-6 * updates.abs().max() + self.rounding * self.start.abs().max()
        free = bool(((elsewhere[1:] - elsewhere[:-1] - updates).abs() <= allowed).all())
        if free and (taken := self._taken(updates)):
            if min(taken.shares) < 0:
                raise ConformanceError(
                    f"a step adds {-min(taken.shares):.3g} of {which}: they grow, so its sign is wrong"
                )
            also = ", which here is coupled, too" * coupled
            return Seen(f"decoupled: {self._said(taken, rate, which)}{also}", CheckOutcome.SAID)
        if coupled:
            return Seen(f"coupled: added to the gradient of {which}", CheckOutcome.SAID)
        if free:
            if amount := self._constant(updates, which):
                said = f"it takes {amount:.3g} from the size of each of {which}"
                return Seen(f"{said}, instead of a share of it, as an L1 term does", CheckOutcome.SAID)
            self._twice(which)
        if self._follows(-1) or _cosine((self.ran[1] - plain[1])[0, moved], self.start[0, moved]) > GROWTH:
            raise ConformanceError(f"it is taken from the gradient of {which}: they grow, so its sign is wrong")
        why = "" if free else "; its updates depend on the weights"
        return Seen(f"neither decoupled nor coupled, as far as can be seen, on {which}{why}", CheckOutcome.SAID)

    def _follows(self, sign: int) -> bool:
        """Whether it takes the steps of the gradient + sign · decay · weights."""

        def regularised(t: int, w: Tensor) -> Tensor:
            return self.gradients[t] + sign * self.decay * w * self.moved

        other = self._steps(self.without, regularised)
        allowed = CLOSE * (self.ran - self.plain).abs().max() + self.rounding * self.start.abs().max()
        return float((other - self.ran).abs().max()) <= float(allowed)

    def _taken(self, updates: Tensor) -> _Taken | None:
        """The share of the weights that each step takes beside these updates; None if that is not what happens."""
        fits = []
        for when in ("before", "after"):
            shares, errors = [], []
            for t, update in enumerate(updates):
                base = (self.ran[t] + update * (when == "after"))[0, self.moved]
                gone = (self.ran[t + 1] - self.ran[t] - update)[0, self.moved]
                share = -float((base @ gone) / (base @ base))
                left, size = float((gone + share * base).norm()), float(gone.norm())
                allowed = CLOSE * size + self.rounding * float(base.norm())
                if left > allowed:
                    break
                errors.append(left / max(size, 1e-300) if size > allowed else 0.0)
                shares.append(share if size > allowed else 0.0)
            else:
                fits.append(_Taken(shares, when, max(errors)))
        fits.sort(key=lambda fit: fit.error)
        if len(fits) == 2 and fits[0].error > 0.1 * fits[1].error:  # as they well may where steps are small
            return fits[0]._replace(when="")
        return fits[0] if fits else None

    def _said(self, taken: _Taken, rate: float | None, which: str) -> str:
        """Which share, how often, and when."""
        steps = [t + 1 for t, share in enumerate(taken.shares) if share]
        if not steps:
            return f"a step takes less of {which} than can be seen"
        shares = [taken.shares[t - 1] for t in steps]
        if max(shares) > 1.02 * min(shares):
            low, high = (self._named(share, rate) for share in (min(shares), max(shares)))
            share = f"from {low} to {high}, differing from step to step,"
        else:
            share = self._named(shares[-1], rate)
        often = "a step takes"
        if len(steps) < len(taken.shares):
            apart = set(np.diff(steps))
            often = (
                f"every {steps[1] - steps[0]}th step takes"
                if len(apart) == 1 and apart != {1}
                else f"steps {', '.join(map(str, steps[:5]))} of {len(taken.shares)} take"
            )
            if steps == list(range(steps[0], len(taken.shares) + 1)):
                often = f"each step from step {steps[0]} on takes"
            if len(steps) == 1:
                often = f"only step {steps[0]} of {len(taken.shares)} takes"
        when = f", {taken.when} its update" * (taken.when == "after")
        return f"{often} {share} of {which}{when}"

    def _named(self, share: float, rate: float | None) -> str:
        """The share of the weights that a step takes, by its name where it has one."""
        squared = rate**2 / self.decay if rate else None
        names = (("lr · weight_decay", rate), ("weight_decay", self.decay), ("lr² · weight_decay", squared))
        for name, value in names:
            if value and np.isclose(share, value, rtol=1e-2):
                return name
            if value and name != "weight_decay" and np.isclose(share, 2 * value, rtol=1e-2):
                return f"twice {name} (is it applied twice?)"
        return f"{share:.3g}"

    def _constant(self, updates: Tensor, which: str) -> float:
        """The amount by which every weight shrinks, whatever it is; 0 if there is none.

        Raises `ConformanceError` where the same amount is subtracted, whatever the sign.
        """
        gone = (self.ran[1:] - self.ran[:-1] - updates)[:, 0, self.moved]
        for towards_zero, sign in ((False, torch.ones_like(gone)), (True, self.ran[:-1, 0, self.moved].sign())):
            amount = (gone * sign)[0].mean()
            if amount and bool(((gone * sign - amount).abs() <= CLOSE * amount.abs() + self.rounding).all()):
                if towards_zero and amount < 0:
                    return -float(amount)
                raise ConformanceError(f"it takes {-float(amount):.3g} from each of {which}, instead of a share of it")
        return 0.0

    def _twice(self, which: str) -> None:
        """Raises `ConformanceError` where it is decoupled and coupled in one."""

        def regularised(t: int, w: Tensor) -> Tensor:
            return self.gradients[t] + self.decay * self.ran[t] * self.moved

        updates = self._steps(self.without, regularised).diff(dim=0)
        for t in range(SETTLED, STEPS):
            base = self.ran[t, 0, self.moved]
            gone = (self.ran[t + 1] - self.ran[t] - updates[t])[0, self.moved]
            share = -float((base @ gone) / (base @ base))
            if share <= 0 or float((gone + share * base).norm()) > NEAR * float(gone.norm()):
                return
        raise ConformanceError(f"it is applied twice to {which}: added to the gradient, and taken as a share")


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()).clamp(min=1e-300))


def _which(places: list[Slice]) -> str:
    matrices, hidden = all(len(s.shape) == 2 for s in places), all(s.hidden for s in places)
    return "the hidden matrices" if hidden else "matrices" if matrices else f"{len(places)} parameters"
