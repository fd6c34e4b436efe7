"""Known update rules in a few lines each, as they are meant and with the mistakes that are made in them.

They are written for comparison, not for speed: one row of parameters in float64, with gradients that are given.
Shapes: T steps, P parameters.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rule:
    """family: its name. choices: what may be meant, in words of `CHOICES`. mistake: in words of `MISTAKES`, or none."""

    family: str
    choices: tuple[str, ...] = ()
    mistake: str = ""

    def has(self, word: str) -> bool:
        return word in self.choices or word == self.mistake

    def __str__(self) -> str:
        said = ", ".join((self.family, *self.choices))
        return f"{said}, but {self.mistake}" if self.mistake else said


COUPLED, BEFORE, AFTER = "coupled decay", "decoupled decay", "decoupled decay after the update"
# Mistakes in decay, for every family.
DECAYS = (
    "decay takes weight_decay of the weights, not lr · weight_decay",
    "decay is both coupled and decoupled",
    "decay subtracts lr · weight_decay itself",
)
NO_CORRECTION = "there is no bias correction"
FIRST_ONLY, SECOND_ONLY = "only the first moment is corrected", "only the second moment is corrected"
IN_PLACE = "bias correction divides the kept moments in place"
TWICE_ONE = "1 − is applied twice in the bias correction"
STUCK = "its counter of steps stays at 1"
BEHIND = "its counter of steps begins at 0, one behind"
PER_PARAMETER = "its counter of steps counts parameters"
INSIDE, UNCORRECTED_EPS = "ε is inside the root", "ε is added before the second moment is corrected"
NO_ROOT, NO_SQUARE = "the second moment has no root", "the second moment is not of squares"
SWAPPED = "the two β are exchanged"
SUM = "the first moment is a sum, not an average"
COMPLEMENT = "β and 1 − β are exchanged"
MOMENT_SQUARED = "the second moment is of the first moment, not of the gradient"
MAX_CORRECTED = "the maximum is taken of corrected second moments"
MISTAKES: dict[str, tuple[str, ...]] = {
    "Adam": (
        NO_CORRECTION,
        FIRST_ONLY,
        SECOND_ONLY,
        IN_PLACE,
        TWICE_ONE,
        STUCK,
        BEHIND,
        PER_PARAMETER,
        INSIDE,
        UNCORRECTED_EPS,
        NO_ROOT,
        NO_SQUARE,
        SWAPPED,
        SUM,
        COMPLEMENT,
        MOMENT_SQUARED,
        MAX_CORRECTED,
    ),
    "SGD": (
        "the look-ahead has the wrong sign",
        "the look-ahead takes the momentum of the step before",
        "the velocity never decays: momentum is on the gradient",
        "the first gradient is dampened, too",
        "momentum does nothing",
        COMPLEMENT,
        "it ascends",
    ),
    "signs of momentum": ("momentum does nothing", "it ascends", COMPLEMENT),
    "Lion": (SWAPPED, "signs are taken after the average is renewed", "it ascends"),
    "RMSprop": (INSIDE, NO_ROOT, COMPLEMENT),
    "Adagrad": (INSIDE, NO_ROOT),
}
CHOICES: dict[str, tuple[tuple[str, ...], ...]] = {
    "Adam": ((), ("the largest second moment",)),
    "SGD": (
        (),
        ("momentum as a sum",),
        ("momentum as an average",),
        ("momentum as a sum", "Nesterov"),
        ("momentum as an average", "Nesterov"),
    ),
    "signs of momentum": (("momentum as a sum",), ("momentum as an average",)),
    "Lion": ((),),
    "RMSprop": ((),),
    "Adagrad": ((),),
}


def rules(*, decays: bool) -> Iterator[Rule]:
    """All rules as they are meant, and then all with one mistake."""
    meant = [Rule(family, choices) for family, own in CHOICES.items() for choices in own]
    kinds = (BEFORE, COUPLED, AFTER) if decays else ()
    whole = [replace(rule, choices=(*rule.choices, kind)) for rule in meant for kind in kinds] if decays else meant
    yield from whole
    if decays:
        yield from (replace(rule, mistake=mistake) for rule, mistake in itertools.product(meant, DECAYS))
    for rule in whole:
        if not rule.has(AFTER):
            yield from (replace(rule, mistake=mistake) for mistake in MISTAKES[rule.family])


def steps(rule: Rule, gradients: Tensor, start: Tensor, settings: Mapping[str, Any], place: Tensor) -> Tensor:
    """(T + 1, P) the weights at the start and after each step.

    gradients: (T, P). settings: lr, weight_decay, β1, β2, momentum and eps. place: (P,) the number of each element's
    parameter, from 0.
    """
    lr, decay = settings["lr"], settings["weight_decay"]
    update = UPDATES[rule.family](rule, settings, torch.zeros_like(start), place)
    w, found = start.clone(), [start]
    twice, constant = rule.has(DECAYS[1]), rule.has(DECAYS[2])
    for t, g in enumerate(gradients, 1):
        if rule.has(BEFORE) or twice:
            w = w * (1 - lr * decay)
        elif rule.has(DECAYS[0]):
            w = w * (1 - decay)
        elif constant:
            w = w - lr * decay
        g = g + decay * w if rule.has(COUPLED) or twice else g
        w = w - lr * update(t, g)
        if rule.has(AFTER):
            w = w * (1 - lr * decay)
        found.append(w)
    return torch.stack(found)


Update = Callable[[int, Tensor], Any]
"""From the number of a step, from 1, and the gradient (P,) to what is taken from the weights, over the rate."""


def _adam(rule: Rule, s: Mapping[str, Any], zero: Tensor, place: Tensor) -> Update:
    b1, b2, eps = s["beta1"], s["beta2"], s["eps"]
    b1, b2 = (b2, b1) if rule.has(SWAPPED) else (b1, b2)
    b1, b2 = (1 - b1, 1 - b2) if rule.has(COMPLEMENT) else (b1, b2)
    kept = {"m": zero, "v": zero, "most": zero}
    parameters = int(place.max()) + 1

    def update(t: int, g: Tensor) -> Any:
        m = b1 * kept["m"] + (1.0 if rule.has(SUM) else 1 - b1) * g
        square = g.abs() if rule.has(NO_SQUARE) else m * m if rule.has(MOMENT_SQUARED) else g * g
        v = b2 * kept["v"] + (1 - b2) * square
        n: Any = t
        n = 1 if rule.has(STUCK) else t - 1 if rule.has(BEHIND) else n
        n = (t - 1) * parameters + place + 1.0 if rule.has(PER_PARAMETER) else n
        one, two = 1 - b1**n, 1 - b2**n
        one, two = (1 - one, 1 - two) if rule.has(TWICE_ONE) else (one, two)
        one = 1.0 if rule.has(NO_CORRECTION) or rule.has(SECOND_ONLY) or rule.has(SUM) else one
        two = 1.0 if rule.has(NO_CORRECTION) or rule.has(FIRST_ONLY) else two
        if rule.has("the largest second moment"):
            kept["most"] = torch.maximum(kept["most"], v / two if rule.has(MAX_CORRECTED) else v)
            second = kept["most"] if rule.has(MAX_CORRECTED) else kept["most"] / two
        else:
            second = v / two
        first = m / one
        kept["m"], kept["v"] = (first, second) if rule.has(IN_PLACE) else (m, v)
        if rule.has(NO_ROOT):
            return first / (second + eps)
        if rule.has(INSIDE):
            return first / (second + eps).sqrt()
        if rule.has(UNCORRECTED_EPS):
            return first / ((v.sqrt() + eps) / two**0.5)
        return first / (second.sqrt() + eps)

    return update


def _sgd(rule: Rule, s: Mapping[str, Any], zero: Tensor, place: Tensor) -> Update:
    momentum = 1 - s["momentum"] if rule.has(COMPLEMENT) else s["momentum"]
    kept = {"v": zero}

    def update(t: int, g: Tensor) -> Any:
        sign = -1.0 if rule.has("it ascends") else 1.0
        average, nesterov = rule.has("momentum as an average"), rule.has("Nesterov")
        last = kept["v"]
        if rule.has("momentum does nothing"):
            last = torch.zeros_like(last)
        share = 1 - momentum if average or (t == 1 and rule.has("the first gradient is dampened, too")) else 1.0
        v = momentum * last + share * g
        if rule.has("the velocity never decays: momentum is on the gradient"):
            v = last + momentum * g
        kept["v"] = v
        if not (average or rule.has("momentum as a sum")):
            return sign * g
        if not nesterov:
            return sign * v
        if rule.has("the look-ahead has the wrong sign"):
            return g - momentum * v
        ahead = last if rule.has("the look-ahead takes the momentum of the step before") else v
        return sign * ((1 - momentum if average else 1.0) * g + momentum * ahead)

    return update


def _signs(rule: Rule, s: Mapping[str, Any], zero: Tensor, place: Tensor) -> Update:
    update = _sgd(rule, s, zero, place)
    return lambda t, g: update(t, g).sign()


def _lion(rule: Rule, s: Mapping[str, Any], zero: Tensor, place: Tensor) -> Update:
    b1, b2 = (s["beta2"], s["beta1"]) if rule.has(SWAPPED) else (s["beta1"], s["beta2"])
    kept = {"m": zero}

    def update(t: int, g: Tensor) -> Any:
        m = kept["m"]
        kept["m"] = b2 * m + (1 - b2) * g
        if rule.has("signs are taken after the average is renewed"):
            m = kept["m"]
        return (-1.0 if rule.has("it ascends") else 1.0) * (b1 * m + (1 - b1) * g).sign()

    return update


def _rms(rule: Rule, s: Mapping[str, Any], zero: Tensor, place: Tensor) -> Update:
    beta = 1 - s["alpha"] if rule.has(COMPLEMENT) else s["alpha"]
    kept = {"v": zero}

    def update(t: int, g: Tensor) -> Any:
        summed = rule.family == "Adagrad"
        kept["v"] = kept["v"] + g * g if summed else beta * kept["v"] + (1 - beta) * g * g
        v, eps = kept["v"], s["eps"]
        return g / ((v + eps).sqrt() if rule.has(INSIDE) else v + eps if rule.has(NO_ROOT) else v.sqrt() + eps)

    return update


UPDATES: dict[str, Callable[[Rule, Mapping[str, Any], Tensor, Tensor], Update]] = {
    "Adam": _adam,
    "SGD": _sgd,
    "signs of momentum": _signs,
    "Lion": _lion,
    "RMSprop": _rms,
    "Adagrad": _rms,
}
