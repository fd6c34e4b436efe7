"""Foreign code that computes: a softmax or a model of somebody's own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from grokbench.numerics.frame import unchanged
from grokbench.spec import UsageError
from grokbench.spec.plugins import Kind, blamed


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """On a GPU, use the deterministic form of each operation that has one.

    Foreign code may add by index, say, which a GPU does in any order unless it is told not to. What has no such form
    is done as it is.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*deterministic")
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


@contextmanager
def foreign(kind: Kind, name: str, seed: int, device: torch.device, when: str = "failed") -> Iterator[None]:
    """Run foreign code with torch's global generator at `seed`, which is put back afterwards.

    What it raises, `SystemExit` included, and what it changes of torch's global settings, which is undone, is a
    `UsageError`. Out of memory is the machine's failure and passes unchanged.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Torch's own `manual_seed` also queues the seed for devices that are not used, which takes most of its time.
        (torch.manual_seed if device.type == "cuda" else torch.default_generator.manual_seed)(seed)
        with repeatable(device), blamed(kind, name, when), unchanged() as changes:
            yield
    if changes:
        raise UsageError(f"the {kind.name} {name} changed torch's global settings: {', '.join(changes)}")
