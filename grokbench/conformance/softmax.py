"""What a softmax has to keep to: the properties that our own are tested for.

It may declare `grokbench_invariant`: whether scores that are all shifted alike have the same probabilities.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from grokbench.conformance.outcome import CheckOutcome, ConformanceError, Seen
from grokbench.softmaxes import named
from grokbench.softmaxes.plugged import stacked
from grokbench.spec import plugins
from grokbench.spec.softmax import SOFTMAXES

CLASSES = 5
STEP = 1e-6  # of finite differences, in float64
LARGE = (1e3, 1e6, 1e9)
SHIFTS = (-30.0, -1.0, 0.5, 100.0)


def _scores(*size: int, seed: int = 0, scale: float = 3.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(*size, generator=generator, dtype=torch.float64)


def simplex(text: str) -> Seen:
    """Probabilities are not negative and sum to 1, for any leading dimensions."""
    for size in ((CLASSES,), (6, CLASSES), (2, 3, CLASSES), (4, 2)):
        p = named(text).probabilities(_scores(*size))
        if not bool((p >= 0).all()):
            raise ConformanceError(f"a probability of scores {size} is {float(p.min()):.3g}")
        far = float((p.sum(-1) - 1).abs().max())
        if not far <= 1e-9:
            raise ConformanceError(f"probabilities of scores {size} sum to 1 only within {far:.3g}")
    return Seen("probabilities are not negative, and sum to 1")


def gradient(text: str) -> Seen:
    """The gradient of the loss is that of finite differences."""
    z, labels = _scores(8, CLASSES), torch.arange(8) % CLASSES
    leaf = z.clone().requires_grad_()
    losses = named(text).loss(leaf, labels)
    (slope,) = torch.autograd.grad(losses.sum(), leaf)
    worst = 0.0
    for c in range(CLASSES):
        step = torch.zeros(CLASSES, dtype=torch.float64)
        step[c] = STEP
        with torch.no_grad():
            measured = (named(text).loss(z + step, labels) - named(text).loss(z - step, labels)) / (2 * STEP)
        worst = max(worst, float((measured - slope[:, c]).abs().max()))
    if not worst <= 1e-5:
        raise ConformanceError(f"the gradient of the loss is {worst:.3g} beside finite differences")
    return Seen(f"within {worst:.1g} of finite differences")


def falls(text: str) -> Seen:
    """A step against its gradient makes the loss smaller, and the answer's score rises."""
    z, labels = _scores(8, CLASSES, seed=1, scale=0.5), torch.arange(8) % CLASSES
    leaf = z.clone().requires_grad_()
    losses = named(text).loss(leaf, labels)
    (slope,) = torch.autograd.grad(losses.sum(), leaf)
    right = slope.gather(-1, labels[:, None])
    if bool((right > 0).any()):
        raise ConformanceError("a higher score of the right answer makes the loss larger")
    with torch.no_grad():
        after = named(text).loss(z - 1e-3 * slope, labels)
    if not bool((after < losses).all()):
        raise ConformanceError("a small step against the gradient does not make the loss smaller")
    return Seen("the loss falls along its gradient, and with the score of the right answer")


def order(text: str) -> Seen:
    """A higher score has no lower probability."""
    z = _scores(32, CLASSES, seed=2).sort(-1).values
    p = named(text).probabilities(z)
    if bool((p.diff(dim=-1) < -1e-12).any()):
        raise ConformanceError("a higher score has a lower probability")
    return Seen("probabilities are in the order of the scores")


def shifts(text: str) -> Seen:
    """What a shift of all scores does, against what is declared."""
    z = _scores(8, CLASSES, seed=3)
    p = named(text).probabilities(z)
    moved = max(float((named(text).probabilities(z + shift) - p).abs().max()) for shift in SHIFTS)
    invariant, promised = moved <= 1e-6, declared(text)
    what = "invariant to shifts" if invariant else f"not invariant to shifts: a probability moves by {moved:.2g}"
    if promised is None:
        return Seen(f"{what}; nothing is declared", CheckOutcome.SAID)
    if promised != invariant:
        raise ConformanceError(f"it is {what}, but declares grokbench_invariant = {promised}")
    return Seen(f"{what}, as declared")


def finite(text: str) -> Seen:
    """Probabilities, losses and gradients of large scores are finite, in float32."""
    labels = torch.arange(CLASSES)
    for scale in LARGE:
        for sign in (1, -1):
            z = (sign * scale * torch.eye(CLASSES)).requires_grad_()
            loss = named(text).loss(z, labels)
            (slope,) = torch.autograd.grad(loss.sum(), z)
            for what, found in (("probabilities", named(text).probabilities(z)), ("loss", loss), ("gradient", slope)):
                if not bool(found.isfinite().all()):
                    raise ConformanceError(f"with scores of {sign * scale:g}, the {what} is not finite")
    return Seen(f"finite for scores up to {LARGE[-1]:g}, in float32")


def deterministic(text: str) -> Seen:
    z, labels = _scores(4, CLASSES).float(), torch.arange(4)
    first = named(text).loss(z, labels)
    named(text).loss(_scores(4, CLASSES, seed=7).float(), labels)
    if not torch.equal(first, named(text).loss(z, labels)):
        raise ConformanceError("the same scores give other losses the second time")
    return Seen("the same losses again, after others in between")


def batched(text: str) -> Seen:
    """Whether all replicas go through it at once."""
    if stacked(text, CLASSES):
        return Seen("all replicas go through it at once", CheckOutcome.SAID)
    return Seen("written for one replica: they go through it one by one, which is slower", CheckOutcome.SAID)


def declared(text: str) -> bool | None:
    """What it declares of shifts; ours are known."""
    name = plugins.split(plugins.SOFTMAX, text)[0]
    if name in SOFTMAXES:
        return name != "stablemax"
    value = plugins.load(plugins.SOFTMAX, name)
    found = getattr(value, "grokbench_invariant", None)
    return None if found is None else bool(found)


CHECKS: dict[str, Callable[[str], Seen]] = {
    "simplex": simplex,
    "gradient": gradient,
    "falls": falls,
    "order": order,
    "shifts": shifts,
    "finite": finite,
    "deterministic": deterministic,
    "batched": batched,
}
