"""What stands for pytest-benchmark."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class Benchmark:
    """What `Race` needs of pytest-benchmark's fixture, with a median of 2 seconds."""

    def __init__(self, *, disabled: bool = False) -> None:
        self.disabled = disabled
        self.extra_info: dict[str, Any] = {}
        self.stats = SimpleNamespace(stats=SimpleNamespace(median=2.0))

    def pedantic(self, candidate: Callable[[], object], setup: Callable[[], object], rounds: int) -> None:
        for _ in range(rounds):
            setup()
            candidate()
