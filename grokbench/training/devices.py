"""Which GPUs a process may use, without torch: to be settled before torch is imported."""

from __future__ import annotations

import os
import subprocess

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible() -> list[str]:
    """The GPUs that CUDA would show to this process, as `CUDA_VISIBLE_DEVICES` names them.

    CUDA reads that list up to the first entry that is no device.
    """
    command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return []
    if VISIBLE not in os.environ:
        return listed
    named: list[str] = []
    for entry in map(str.strip, os.environ[VISIBLE].split(",")):
        if not (entry in listed or entry.startswith(("GPU-", "MIG-"))):
            break
        named.append(entry)
    return named


def take(worker: str) -> None:
    """Leave this process one GPU of those that are visible, by the number in its worker's name, 'gw3'."""
    own, number = visible(), worker.removeprefix("gw")
    if own and number.isdecimal():
        os.environ[VISIBLE] = own[int(number) % len(own)]
