"""xdist on a host with GPUs: one worker, one GPU, settled before torch is imported."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grokbench.plugin import hooks
from grokbench.training import devices


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host whose nvidia-smi lists four GPUs."""
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n3\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    for name in (devices.VISIBLE, "PYTEST_XDIST_WORKER"):  # these tests may run in a worker themselves
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("variable", "visible"),
    [
        (None, ["0", "1", "2", "3"]),
        ("2, 0", ["2", "0"]),
        ("3,-1,1", ["3"]),
        ("", []),
        ("1,7,2", ["1"]),
        ("GPU-8932,MIG-1", ["GPU-8932", "MIG-1"]),
    ],
)
def test_visible_devices_are_read_as_cuda_reads_them(host, variable, visible):
    if variable is not None:
        host.setenv(devices.VISIBLE, variable)
    assert devices.visible() == visible


def test_without_a_driver_there_are_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(devices.VISIBLE, "0,1")
    assert devices.visible() == []


def test_workers_index_into_the_callers_list(host):
    taken = []
    for worker in ("gw0", "gw1", "gw2", "main"):
        host.setenv(devices.VISIBLE, "3,1")
        devices.take(worker)
        taken.append(os.environ[devices.VISIBLE])
    assert taken == ["3", "1", "3", "3,1"]


TEST = """
import os, sys, pytest
SEEN = os.environ.get("CUDA_VISIBLE_DEVICES"), "torch" in sys.modules
@pytest.mark.parametrize("i", range(2))
def test_it(i):
    with open("seen", "a") as file:
        file.write(f"{os.environ.get('PYTEST_XDIST_WORKER')} {SEEN[0]} {SEEN[1]}\\n")
"""


@pytest.mark.slow
def test_each_worker_has_one_gpu_and_auto_means_their_number(host, pytester):
    host.setenv(devices.VISIBLE, "3,1")
    pytester.makepyfile(TEST)
    without = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
    command = (*without, "-n", "auto", "--dist", "each", "--grok-preset", "smoke")
    assert pytester.runpytest_subprocess(*command).ret == 0
    assert set(Path("seen").read_text().splitlines()) == {"gw0 3 False", "gw1 1 False"}


@pytest.mark.parametrize(
    ("options", "workers"),
    [
        (["--grok-preset", "smoke"], 4),
        (["--pyargs", "grokbench.suite"], 4),
        (["--grok-preset", "smoke", "--grok-device", "cpu"], None),
        ([], None),
    ],
)
def test_sessions_of_others_and_of_processors_are_left_alone(host, pytester, options, workers):
    config = pytester.parseconfig("-p", "no:cacheprovider", *options)
    assert hooks.pytest_xdist_auto_num_workers(config) == workers
