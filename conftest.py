"""Policy for all tests and benchmarks.

Tests marked `gpu` skip, with the reason, where there is no CUDA device. `pytest` alone, for all tests, divides them
over the cores, up to `MOST`; what is asked for by name runs in one process, and so does everything with `-n 0`.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest_plugins = ["pytester"]

MOST = 8  # processes; each imports torch


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    option = config.option
    everything = config.args_source is config.ArgsSource.TESTPATHS and not hasattr(config, "workerinput")
    if everything and config.pluginmanager.hasplugin("xdist") and option.numprocesses is None and not option.tx:
        option.numprocesses, option.maxprocesses = "auto", option.maxprocesses or MOST


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Each process begins with a part of its own, so that a file's fixtures are made once, and helps at the end."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.option.dist == "load" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
