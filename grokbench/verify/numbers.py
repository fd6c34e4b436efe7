"""Whether numbers are right: products, random bits, losses, Newton–Schulz, and the ensemble against a plain module."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from grokbench.numerics import rng
from grokbench.numerics.frame import numerics
from grokbench.numerics.kernels.choice import wanted
from grokbench.optim.newton_schulz import QUINTIC, orthogonalize
from grokbench.softmaxes import SOFTMAX
from grokbench.spec import SOFTMAXES
from grokbench.verify import plain
from grokbench.verify.finding import FaultError
from grokbench.verify.runs import DEEP, OPTIMIZERS, PLUG_IN, a_run, loaded, named, replicas

# Philox4x32-10 by Random123, tests/kat_vectors: counter, key, result.
KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
)
# Of float32, relative to the largest entry. TF32, which keeps three digits, is a hundred times over the first.
PRODUCT, LOSS, ORTHOGONAL = 1e-5, 1e-5, 1e-3
EXACT = 1e-9
SHAPES = ((16, 16), (64, 64), (64, 256), (256, 64), (128, 128), (33, 20), (512, 128), (160, 160))
SPREADS = (0.01, 1.0, 30.0)


def products(device: torch.device) -> str:
    """Batched float32 products against float64: whether something computes with fewer digits."""
    worst = 0.0
    with numerics():
        for inner in (16, 64, 256, 1024):
            a, b = normal(3, 48, inner, device=device), normal(3, inner, 32, device=device)
            worst = max(worst, _error(torch.bmm(a, b), a.double() @ b.double()))
    if not worst <= PRODUCT:
        raise FaultError(f"a float32 product is off by {worst:.1e} of its largest entry, more than {PRODUCT:g}")
    return f"float32 products are off by {worst:.0e} at most, as float32 is"


def bits(device: torch.device) -> str:
    """Random bits: published answers, and those of the processor."""
    for counter, key, known in KNOWN:
        c, k = (tuple(torch.tensor([word]).to(device) for word in words) for words in (counter, key))
        drawn = tuple(int(word) for word in rng.philox(c, k))  # type: ignore[arg-type]
        if drawn != known:
            raise FaultError(f"Philox gives {drawn[0]:08x} … for a published counter, not {known[0]:08x} …")
    keys, at = torch.arange(5) * 7919, torch.arange(5) * 1000
    there = (keys.to(device), at.to(device))
    pairs = [
        (rng.permutation(keys, rng.Stream.ORDER, at, 961), rng.permutation(there[0], rng.Stream.ORDER, there[1], 961)),
        (rng.keep_mask(keys, at, 3, 500, 0.2), rng.keep_mask(*there, 3, 500, 0.2)),
    ]
    if not all(torch.equal(ours, theirs.cpu()) for ours, theirs in pairs):
        raise FaultError("orders of batches or dropout masks differ from the processor's")
    return "Philox gives the published bits; orders and dropout masks are the processor's"


def losses(device: torch.device) -> str:
    """Each loss and its slope in float32, by the kernels where they serve, against the literal form in float64."""
    worst = {}
    for name in SOFTMAXES:
        errors = [0.0]
        for classes in (2, 31, 97, 1024):
            for spread in SPREADS:
                z, labels = spread * normal(6, 5, classes), torch.arange(30).view(6, 5) % classes
                leaf = z.to(device).requires_grad_()
                mean = SOFTMAX[name].loss(leaf, labels.to(device)).mean()
                (slope,) = torch.autograd.grad(mean, leaf)
                truth = z.double().requires_grad_()
                right = plain.loss(name, truth.flatten(0, 1), labels.flatten())
                (wanted_slope,) = torch.autograd.grad(right, truth)
                errors += [_error(mean[None], right[None]), _error(slope, wanted_slope)]
        worst[name] = _largest(errors)
        if not worst[name] <= LOSS:
            raise FaultError(f"{name}: loss or slope is off by {worst[name]:.1e}, more than {LOSS:g}")
    return f"{_by_kernels(device)}, off by at most {_list(worst)}"


def newton_schulz(device: torch.device) -> str:
    """Orthogonalised matrices in float32, by the kernel where it serves, against the literal form in float64."""
    worst = {}
    for shape in SHAPES:
        g = normal(3, *shape)
        made = orthogonalize(g.to(device), 5, QUINTIC)
        truth = torch.stack([plain.newton_schulz(matrix, 5) for matrix in g.double()])
        worst["×".join(map(str, shape))] = error = _error(made, truth)
        if not error <= ORTHOGONAL:
            raise FaultError(f"a matrix of {shape[0]}×{shape[1]} is off by {error:.1e}, more than {ORTHOGONAL:g}")
    zero = orthogonalize(torch.zeros(1, 16, 16, device=device))
    if zero.any():
        raise FaultError("a zero matrix does not give zero")
    largest = max(worst, key=lambda shape: worst[shape])
    return f"{_by_kernels(device)}, off by at most {worst[largest]:.0e} ({largest})"


def exact(device: torch.device) -> str:
    """The ensemble in float64 against a plain module, one replica at a time: losses, weights and evaluations."""
    model = replace(DEEP, dtype="float64")
    runs = [a_run(model, text, softmax) for text in OPTIMIZERS for softmax in SOFTMAXES]
    runs.append(a_run(model, PLUG_IN, SOFTMAXES[0]))
    epochs, worst = 3, 0.0
    for run in runs:
        own = replicas(run, 2)
        ensemble = loaded(dict(enumerate(own)), 2, device)
        module = plain.module(own[1], _on_processor(ensemble.weights(1)))
        means = torch.stack([ensemble.train().cpu() for _ in range(epochs)])
        right = plain.train(own[1], module, plain.optimizers(own[1], module), epochs)
        ours, evaluation = _on_processor(ensemble.weights(1)), ensemble.evaluate(means[-1])
        errors = [_relative(ours[name], weight) for name, weight in module.state_dict().items()]
        errors.append(_relative(means[:, 1], torch.tensor(right, dtype=torch.float64)))
        figures = torch.tensor([float(f[1]) for f in evaluation[:4]], dtype=torch.float64)
        errors.append(_relative(figures, torch.tensor(plain.evaluate(own[1], module), dtype=torch.float64)))
        error = _largest(errors)
        if not error <= EXACT:
            raise FaultError(f"{named(run)}: off by {error:.1e} from a plain module, more than {EXACT:g}")
        worst = max(worst, error)
    return f"{len(runs)} runs agree with a plain module in float64, to {worst:.0e}"


def normal(*shape: int, device: torch.device | str = "cpu") -> Tensor:
    """Standard normal numbers, the same on every machine."""
    size = torch.Size(shape)
    return rng.normal(7, 0, size.numel()).view(size).float().to(device)


def _error(value: Tensor, truth: Tensor) -> float:
    """The largest difference, relative to the largest entry of the truth; NaN where either has one."""
    value, truth = value.detach().double().cpu(), truth.detach().double().cpu()
    return float((value - truth).abs().max() / truth.abs().max())


def _relative(value: Tensor, truth: Tensor) -> float:
    return float((value - truth).norm() / truth.norm())


def _largest(errors: list[float]) -> float:
    """The largest of these, or NaN if any is."""
    return float(torch.tensor(errors, dtype=torch.float64).max())


def _on_processor(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: weight.cpu() for name, weight in weights.items()}


def _by_kernels(device: torch.device) -> str:
    return "by Triton kernels" if wanted(torch.empty(0, device=device)) else "by the plain forms"


def _list(errors: dict[str, float]) -> str:
    return ", ".join(f"{error:.0e} ({name})" for name, error in errors.items())
