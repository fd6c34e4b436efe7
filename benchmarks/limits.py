"""What a GPU could reach by arithmetic, from what a step computes, moves and launches. Needs no GPU.

    PYTHONPATH=. python benchmarks/limits.py --tflops 67 --terabytes 3.35

A step is run on a pretended GPU (tests/pretend_cuda.py), and its operations are added up: floating-point operations of
the products, bytes of the tensors that each operation and each kernel reads and writes (caches are left out), and
launches, with Triton's kernels and without. The defaults are those of an H100 SXM: float32 outside of tensor cores, and
memory. The times of a launch are assumptions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils._pytree import tree_iter

import grokbench
from grokbench.claims import presets
from grokbench.engine.ensemble import Ensemble
from grokbench.models.transformer import Stack
from grokbench.spec import RunSpec, registry

sys.path.insert(0, str(Path(grokbench.__file__).parents[1] / "tests"))
from pretend_cuda import FREE, PretendedCuda
from pretended import Pretended

GPU = torch.device("cuda")
LAUNCHED, RECORDED = 5e-6, 1.5e-6  # seconds a launch, from the processor and inside a graph: assumed, not measured
REPLICAS = (64, 1024, 4096)


class Counts(NamedTuple):
    """Of one step: launches for however many replicas, with kernels and without; the rest for one, with kernels."""

    launches: int
    plain: int
    flops: float
    bytes: float


class Counting(PretendedCuda):  # type: ignore[no-untyped-call]
    """Adds up what operations compute and move."""

    flops = bytes = in_optimizer = 0.0

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        out = super().run(func, args, kwargs)
        name = str(func).split(".")[1]
        given = [t for t in tree_iter((args, kwargs)) if isinstance(t, torch.Tensor)]
        made = [t for t in tree_iter(out) if isinstance(t, Pretended)]
        if name not in FREE and made:
            self.bytes += sum(t.numel() * t.element_size() for t in (*given, *made))
        if name in ("bmm", "baddbmm"):
            left = given[-2].shape
            self.flops += 2.0 * left.numel() * made[0].shape[-1]
        return out

    def kernel(self, name: str, tensors: list[torch.Tensor]) -> None:
        self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        if name == "_sums":  # a product with zeros and ones
            _, index, out = tensors
            self.flops += 2.0 * index.numel() * out[0].numel()


def counts(run: RunSpec, replicas: int = 2) -> Counts:
    """What a step needs. The products of Newton–Schulz, which its kernel hides, are counted without it."""
    fused, plain = (_second_step(run, replicas, kernels) for kernels in (True, False))
    extra = plain.in_optimizer - fused.in_optimizer
    return Counts(fused.launches, plain.launches, (fused.flops + extra) / replicas, fused.bytes / replicas)


def _second_step(run: RunSpec, replicas: int, kernels: bool) -> Counting:
    """The counts of the second of two steps, which prepares nothing any more."""
    gpu = Counting(kernels=kernels)
    with gpu:
        ensemble = Ensemble(run, replicas, GPU, graphs=False)
        for slot in range(replicas):
            ensemble.load(slot, replace(run, replica=slot))
        optimize = ensemble._optimizer.step

        def step(gradients: Stack) -> None:
            before = gpu.flops
            optimize(gradients)
            gpu.in_optimizer = gpu.flops - before

        ensemble._optimizer.step = step  # type: ignore[method-assign]
        (batch, *_) = ensemble._batches(ensemble._train)
        for _ in range(2):
            gpu.calls.clear()
            gpu.flops = gpu.bytes = 0.0
            ensemble._step(batch)
    return gpu


def limits(c: Counts, flops: float, bandwidth: float) -> dict[str, float]:
    """Replica-steps a second by each resource alone, and with so many replicas as graphs of this many launches."""
    busy = max(c.flops / flops, c.bytes / bandwidth)
    found = {"arithmetic": flops / c.flops, "memory": bandwidth / c.bytes}
    for replicas in REPLICAS:
        for name, seconds in (("step by step", LAUNCHED), ("as a graph", RECORDED)):
            # A launch and the work of the one before it overlap, so the longer of the two counts.
            found[f"{replicas}, {name}"] = replicas / max(c.launches * seconds, replicas * busy)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tflops", type=float, default=67.0, help="float32, in 10^12 a second (default: 67)")
    parser.add_argument("--terabytes", type=float, default=3.35, help="of memory, a second (default: 3.35)")
    parser.add_argument("--preset", nargs="+", default=["ci", "paper"])
    options = parser.parse_args(arguments)
    for name in options.preset:
        p = presets.get(name)
        for optimizer in ("adamw", "muon"):
            spec = registry.parse(optimizer, p.optimizers)
            c = counts(RunSpec(p.tasks[0], "softmax", p.model, spec, p.criterion, p.batch, 0))
            work = f"{c.flops / 1e6:.0f} MFLOP and {c.bytes / 1e6:.1f} MB"
            print(f"{name}, {optimizer}: {c.launches} launches ({c.plain} without kernels), {work}")
            for what, speed in limits(c, options.tflops * 1e12, options.terabytes * 1e12).items():
                print(f"  {what:22} {speed:12,.0f} replica-steps a second")


if __name__ == "__main__":
    main()
