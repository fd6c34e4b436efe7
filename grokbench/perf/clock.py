"""Clocks: seconds of an action on a device, and how fast that device says that it runs."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch

Action = Callable[[], object]


def seconds(action: Action, device: torch.device) -> float:
    """Seconds that one call takes; on CUDA between two events on the present stream."""
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(device)
        start.record()
        action()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def rates(device: torch.device) -> dict[str, str]:
    """What the device says of its clocks at this moment; nothing where it does not tell."""
    if device.type == "cuda":
        fields = "clocks.sm,clocks.mem,clocks.max.sm"
        command = ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader", f"--id={_uuid(device)}"]
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        except (OSError, subprocess.SubprocessError):
            return {}
        return dict(zip(fields.split(","), (value.strip() for value in found.split(",")), strict=False))
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return {"cpu": f"{min(clocks):.0f}–{max(clocks):.0f} MHz"} if clocks else {}


def _uuid(device: torch.device) -> str:
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"
