"""What a GPU says of itself: clocks, power, temperature, ECC, persistence mode, and why it runs no faster.

By nvidia-ml-py (the extra `gpu`), else by nvidia-smi; nothing where there is neither. Nothing is ever set.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import torch

# nvidia-smi's names; nvml.h, nvmlClocksEventReason*, for the bits of the reasons
FIELDS = (
    "driver_version",
    "clocks.sm",
    "clocks.mem",
    "clocks.max.sm",
    "power.draw",
    "temperature.gpu",
    "persistence_mode",
    "ecc.mode.current",
    "clocks_event_reasons.active",
)
REASONS = {
    0x001: "idle",
    0x002: "clocks set by a user",
    0x004: "software power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "software thermal slowdown",
    0x040: "hardware thermal slowdown",
    0x080: "hardware power brake",
    0x100: "display clocks",
}
HARMLESS = 0x001  # an idle card is slow on purpose


def state(device: torch.device) -> dict[str, str]:
    """The fields above, as text, where the device is a GPU that tells."""
    if device.type != "cuda":
        return {}
    uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
    return _by_library(uuid) or _by_tool(uuid)


def throttled(state: dict[str, str]) -> str:
    """Why the card ran no faster, if it said so; empty otherwise."""
    return "" if state.get(FIELDS[-1]) in (None, "none", REASONS[HARMLESS]) else state[FIELDS[-1]]


def _by_tool(uuid: str) -> dict[str, str]:
    command = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader", f"--id={uuid}"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    told = dict(zip(FIELDS, (value.strip() for value in found.split(",")), strict=False))
    try:
        told[FIELDS[-1]] = _reasons(int(told.get(FIELDS[-1], ""), 16))
    except ValueError:  # an older tool does not know the question
        told.pop(FIELDS[-1], None)
    return told


def _by_library(uuid: str) -> dict[str, str]:
    try:
        import pynvml  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        return {}
    try:
        pynvml.nvmlInit()
        try:
            card = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            return _asked(pynvml, card)
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:  # no driver, or one that does not tell
        return {}


def _asked(nvml: Any, card: Any) -> dict[str, str]:
    """The fields that the library gives for a card, by its handle."""

    def mhz(kind: int) -> str:
        return f"{nvml.nvmlDeviceGetClockInfo(card, kind)} MHz"

    sm = nvml.NVML_CLOCK_SM
    questions: dict[str, Callable[[], str]] = {
        "driver_version": lambda: str(nvml.nvmlSystemGetDriverVersion()),
        "clocks.sm": lambda: mhz(sm),
        "clocks.mem": lambda: mhz(nvml.NVML_CLOCK_MEM),
        "clocks.max.sm": lambda: f"{nvml.nvmlDeviceGetMaxClockInfo(card, sm)} MHz",
        "power.draw": lambda: f"{nvml.nvmlDeviceGetPowerUsage(card) / 1000:.0f} W",
        "temperature.gpu": lambda: str(nvml.nvmlDeviceGetTemperature(card, nvml.NVML_TEMPERATURE_GPU)),
        "persistence_mode": lambda: _switch(nvml.nvmlDeviceGetPersistenceMode(card)),
        "ecc.mode.current": lambda: _switch(nvml.nvmlDeviceGetEccMode(card)[0]),
        FIELDS[-1]: lambda: _reasons(nvml.nvmlDeviceGetCurrentClocksThrottleReasons(card)),
    }
    told = {}
    for field, ask in questions.items():
        try:
            told[field] = ask()
        except nvml.NVMLError:  # this card has no such thing
            continue
    return told


def _switch(value: int) -> str:
    return "Enabled" if value else "Disabled"


def _reasons(bits: int) -> str:
    return ", ".join(text for bit, text in REASONS.items() if bits & bit) or "none"
