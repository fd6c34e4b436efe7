"""A GPU is asked by the library or by the tool, and what it does not tell is left out."""

from __future__ import annotations

import os
import sys

import pytest
import torch
from nvml import library
from pretend_cuda import PretendedCuda

from grokbench.perf import card

GPU, CPU = torch.device("cuda"), torch.device("cpu")
LINE = "580.1, 1980 MHz, 2619 MHz, 1980 MHz, 310.5 W, 41, Enabled, Enabled, 0x0000000000000044"


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """A host with this nvidia-smi, and no library."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def says(line: str) -> None:
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!/bin/sh\necho '{line}'\n")
        path.chmod(0o755)

    return says


def test_the_tool_is_asked(tool):
    tool(LINE)
    with PretendedCuda():
        told = card.state(GPU)
    assert told["power.draw"] == "310.5 W"
    assert told["temperature.gpu"] == "41"
    assert card.throttled(told) == "software power cap, hardware thermal slowdown"
    assert card.state(CPU) == {}


@pytest.mark.parametrize(("reason", "text"), [("0x1", ""), ("0x0", ""), ("0x8", "hardware slowdown"), ("[N/A]", "")])
def test_why_a_card_is_slow(tool, reason, text):
    tool(LINE.replace("0x0000000000000044", reason))
    with PretendedCuda():
        assert card.throttled(card.state(GPU)) == text


def test_without_a_tool_nothing_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with PretendedCuda():
        assert card.state(GPU) == {}


def test_the_library_is_asked_first_and_may_not_know_everything(tool, monkeypatch):
    tool(LINE)
    nvml = library(
        Init=lambda: None,
        Shutdown=lambda: None,
        DeviceGetHandleByUUID=lambda uuid: uuid,
        DeviceGetClockInfo=lambda handle, kind: {1: 1755, 2: 2619}[kind],
        DeviceGetEccMode=lambda handle: (1, 1),
        DeviceGetPowerUsage=lambda handle: 99_600,
        DeviceGetCurrentClocksThrottleReasons=lambda handle: 0x4,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with PretendedCuda():
        told = card.state(GPU)
    assert told == {
        "clocks.sm": "1755 MHz",
        "clocks.mem": "2619 MHz",
        "power.draw": "100 W",
        "ecc.mode.current": "Enabled",
        "clocks_event_reasons.active": "software power cap",
    }
    monkeypatch.setitem(sys.modules, "pynvml", library())  # there is no driver
    with PretendedCuda():
        assert card.state(GPU)["power.draw"] == "310.5 W"
