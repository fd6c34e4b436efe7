"""What all benchmarks share: the device, its clock and its peak, and what the results say of the machine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import measure
import pytest
import torch

from grokbench.records import provenance
from grokbench.spec import UsageError
from grokbench.training.local import resolve_device


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bench-device", metavar="DEVICE", default="auto", help="auto, cpu or cuda (default: auto)")


def _device(config: pytest.Config) -> torch.device:
    try:
        # The default is for `pytest .`, which finds this file too late to read its option.
        return torch.device(resolve_device(config.getoption("--bench-device", "auto")))
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_itemcollected(item: pytest.Item) -> None:
    """pytest calls this for the items below this folder alone. A group is a file, whose name histories know it by."""
    group = item.path.stem.removeprefix("test_").removesuffix("_speed")
    item.add_marker(pytest.mark.benchmark(timer=measure.clock(_device(item.config)), group=group))


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Add what a record of grokbench says of its machine; the commit is in `commit_info` already."""
    here = provenance.capture(_device(config).type).as_dict()
    machine_info["grokbench"] = {key: value for key, value in here.items() if key not in ("commit", "dirty")}


@pytest.fixture(scope="session")
def device(pytestconfig: pytest.Config) -> torch.device:
    return _device(pytestconfig)


@pytest.fixture(scope="session")
def peak(device: torch.device) -> Callable[[], float]:
    """FLOP/s of a large product, measured when first asked for."""
    return functools.cache(lambda: measure.matrix_peak(device))


@pytest.fixture
def race(benchmark: Any, device: torch.device, peak: Callable[[], float], pytestconfig: pytest.Config) -> measure.Race:
    return measure.Race(benchmark, device, peak, pytestconfig)
