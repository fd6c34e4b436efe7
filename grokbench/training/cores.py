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

    In a container the path may be that of the host, of which only the root is to be seen: so all above it count, too.
    """
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:  # not Linux
        return None
    quotas = []
    for line in lines:
        _, controllers, own = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = CGROUPS / controllers  # version 2 has one tree, without a name
        group = root / own.lstrip("/")
        quotas += [_quota_of(folder) for folder in (group, *group.parents) if folder.is_relative_to(root)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(group: Path) -> float | None:
    """That of one group; the root has none, nor has a group without this controller.

    Version 2: https://docs.kernel.org/admin-guide/cgroup-v2.html. Version 1:
    https://docs.kernel.org/scheduler/sched-bwc.html.
    """
    for files in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            most, period = " ".join((group / file).read_text() for file in files).split()
            return None if most in ("max", "-1") else int(most) / int(period)
        except (OSError, ValueError):
            continue
    return None
