"""Triton's kernels at the edges of their shapes and numbers, against float64: errors as multiples of the plain form's.

    PYTHONPATH=. python benchmarks/studies/kernel_edges.py                       # on a GPU, in seconds
    TRITON_INTERPRET=1 PYTHONPATH=. python benchmarks/studies/kernel_edges.py    # without one, in minutes

A line a kernel, size and kind of numbers: the mean and the largest error over those of the plain form in float32 on
the processor. Five times the mean and fifteen times the largest are as good as equal (Dion's tests allow as much);
a line above that is marked, and the exit code is then 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from grokbench.models.blocks import NORM_EPSILON, rms_norm
from grokbench.numerics.kernels import elementwise, losses, newton_schulz, norms
from grokbench.optim.newton_schulz import QUINTIC
from grokbench.optim.newton_schulz import orthogonalize as plain
from grokbench.softmaxes import SOFTMAX

MEAN, LARGEST = 5.0, 15.0
SIDES = (16, 17, 31, 64, 100, 128)
TALL = 512  # rows of the tallest matrices
REPLICAS = (1, 3, 512)
WIDTHS = (16, 48, 128, 500)
CLASSES = (1, 31, 97, 113, 1024, 4096)
KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "normal": lambda x: x,
    "zero": lambda x: 0 * x,
    "denormal": lambda x: 1e-39 * x,
    "huge": lambda x: 1e18 * x,
    "strided": lambda x: x.repeat_interleave(2, -1)[..., ::2],
}
LOSSES = {"softmax": losses.softmax_loss, "stablemax": losses.stablemax_loss, "sparsemax": losses.sparsemax_loss}


class Case(NamedTuple):
    """What a kernel gives on a device, and the plain form in any dtype, from numbers on the processor."""

    name: str
    given: Tensor
    fused: Callable[[Tensor], Tensor]
    plain: Callable[[Tensor], Tensor]


def cases(
    sides: Sequence[int], replicas: Sequence[int], widths: Sequence[int], classes: Sequence[int]
) -> Iterator[Case]:
    made = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=made)

    def shapes() -> Iterator[tuple[int, int, int]]:
        for side in sides:
            yield from ((replicas[0], side, side), (replicas[0], side, 2 * side + 3), (replicas[0], TALL, side))
        yield from ((count, sides[0], sides[0]) for count in replicas[1:])

    for shape in shapes():
        name = f"Newton–Schulz {'×'.join(map(str, shape))}"
        fused = lambda x: newton_schulz.orthogonalize(x, 5, QUINTIC)  # noqa: E731
        yield Case(name, normal(*shape), fused, lambda x: plain(x, 5))
    for count in replicas:
        for width in widths:
            gain = normal(count, width)

            def norm(x: Tensor, gain: Tensor = gain) -> Tensor:
                return norms.forward(x, None, None, gain.to(x), NORM_EPSILON)[1]

            def plain_norm(x: Tensor, gain: Tensor = gain) -> Tensor:
                return rms_norm(x, gain.to(x))

            yield Case(f"norm {count}×33×{width}", normal(count, 33, width), norm, plain_norm)
    yield Case("SiLU", 3 * normal(2100), lambda x: elementwise.silu(x.contiguous(), None), torch.nn.functional.silu)
    for size in classes:
        labels = torch.arange(33) % size
        for name, loss in LOSSES.items():

            def kernel(x: Tensor, loss: Callable[..., Tensor] = loss, labels: Tensor = labels) -> Tensor:
                return loss(x, labels.to(x.device))

            def same(x: Tensor, name: str = name, labels: Tensor = labels) -> Tensor:
                return SOFTMAX[name].loss(x, labels)

            yield Case(f"{name} 33×{size}", 3 * normal(33, size), kernel, same)


def ratios(case: Case, kind: str, device: torch.device) -> tuple[float, float]:
    """The mean and the largest error over the plain form's, which count as at least half a unit in the last place."""
    given = KINDS[kind](case.given)
    exact = case.plain(given.double())
    ours = (case.fused(given.to(device)).cpu().double() - exact).abs()
    theirs = (case.plain(given).double() - exact).abs()
    least = 2.0**-25 * float(exact.abs().max()) + torch.finfo(torch.float32).tiny
    return float(ours.mean()) / max(float(theirs.mean()), least), float(ours.max()) / max(float(theirs.max()), least)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, sizes in (("sides", SIDES), ("replicas", REPLICAS), ("widths", WIDTHS), ("classes", CLASSES)):
        parser.add_argument(f"--{name}", type=int, nargs="+", default=sizes)
    o = parser.parse_args(arguments)
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not interpreted and not torch.cuda.is_available():
        parser.error("there is no GPU: set TRITON_INTERPRET=1")
    device, sound = torch.device("cpu" if interpreted else "cuda"), True
    for case in cases(o.sides, o.replicas, o.widths, o.classes):
        for kind in KINDS:
            mean, largest = ratios(case, kind, device)
            good = mean <= MEAN and largest <= LARGEST
            sound = sound and good
            print(f"{case.name:26} {kind:9} {mean:8.2f} {largest:8.2f}{'' if good else '  too large'}", flush=True)
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
