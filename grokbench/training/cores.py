"""How many processor cores this process may use: those that it is bound to, and what its container may take of them."""

from __future__ import annotations

import math
import os
from pathlib import Path

from grokbench.spec import UsageError

CGROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def count() -> int:
    """The cores that this process may use, at least 1."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return bound if quota is None else max(1, min(bound, math.ceil(quota)))


def check(threads: int | None) -> None:
    """Raise `UsageError` for more threads than cores, or fewer than one. None: nothing was asked for."""
    most = count()
    if threads is not None and not 1 <= threads <= most:
        raise UsageError(f"threads must be at least 1 and at most {most}, the cores it may use here, not {threads}")


def _quota() -> float | None:
    """Processor time by wall time that the control groups of this process leave it; None for no limit.

    Version 2, "cpu.max": https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:  # not Linux
        return None
    own = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
    if own is None:
        return None
    group = CGROUPS / own
    quotas = []
    for folder in (group, *group.parents):
        if folder.is_relative_to(CGROUPS):
            quotas.append(_quota_of(folder))
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(group: Path) -> float | None:
    try:
        most, period = (group / "cpu.max").read_text().split()
        return None if most == "max" else int(most) / int(period)
    except (OSError, ValueError):  # the root has none; neither has a group without this controller
        return None
