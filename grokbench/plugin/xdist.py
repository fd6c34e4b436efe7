"""pytest-xdist: a GPU for each worker, and workers that tell the controller which cases they ran."""

from __future__ import annotations

import os
from typing import Any

import pytest

from grokbench.options import BY_NAME

CASES = "grok_cases"  # what a worker tells: the ids of its cases
SEEN = pytest.StashKey["dict[str, None]"]()
_DESTINATIONS = tuple(f"grok_{name}".replace("-", "_") for name in BY_NAME)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Give each worker of xdist one GPU, before anything imports torch."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and _may_use_gpus(early_config):
        from grokbench.training import devices

        devices.take(worker)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """`-n auto` means a worker for each GPU, where there are any."""
    if not _may_use_gpus(config):
        return None
    from grokbench.training import devices

    return len(devices.visible()) or None


def _may_use_gpus(config: pytest.Config) -> bool:
    """Whether this session is one of grokbench, by its options or arguments, and is not bound to the processor."""
    given = vars(config.known_args_namespace)
    ours = any(given.get(name) is not None for name in _DESTINATIONS)
    ours |= any("grokbench.suite" in str(path) for path in given.get("file_or_dir") or ())
    return ours and given.get("grok_device") in (None, "auto", "cuda")


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The controller collects nothing itself; learn from a worker that ends what it ran."""
    told = getattr(node, "workeroutput", {}).get(CASES, ())
    node.config.stash.setdefault(SEEN, {}).update(dict.fromkeys(told))
