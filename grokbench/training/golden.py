"""Golden trajectories: digests of the weights of a short run, to see whether two optimizers do the same, bit by bit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch

from grokbench.engine.kinds import ensemble
from grokbench.spec import RunSpec

Golden = tuple[tuple[str, ...], ...]
"""For each run, a digest of the weights after each epoch."""


def golden(runs: Sequence[RunSpec], device: str, epochs: int) -> Golden:
    """Train each run for so many epochs, eagerly and alone."""
    return tuple(_digests(run, device, epochs) for run in runs)


def _digests(run: RunSpec, device: str, epochs: int) -> tuple[str, ...]:
    alone = ensemble(run, 1, torch.device(device))
    alone.load(0, run)
    digests = []
    for _ in range(epochs):
        alone.train()
        content = b"".join(w.cpu().numpy().tobytes() for w in alone.weights(0).values())
        digests.append(hashlib.blake2b(content, digest_size=8).hexdigest())
    return tuple(digests)


def first_difference(one: Golden, other: Golden) -> int:
    """The first epoch after which any of the runs differ, 0 if there is none."""
    found = [
        next((i + 1 for i, (a, b) in enumerate(zip(x, y, strict=True)) if a != b), 0)
        for x, y in zip(one, other, strict=True)
    ]
    return min(filter(None, found), default=0)
