"""Clocks: seconds of an action on a device, how fast that device says that it runs, and when it runs steadily."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from grokbench.perf import card

Action = Callable[[], object]

SM_CLOCK = "clocks.sm"
STEADY, READINGS = 0.02, 3  # so many readings in a row within this share of each other
APART, MOST = 0.1, 10.0  # seconds between readings, and of the warm-up


def seconds(action: Action, device: torch.device) -> float:
    """Seconds that one call takes; on CUDA between two events on the present stream."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        watch = Watch(device)
        watch.around(action)()
        return watch.seconds()[0]
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


class Watch:
    """Events before and after calls on a GPU, whose times are asked for when all is done. On a processor, nothing."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    def around(self, action: Action) -> Action:
        """The action, with an event before and one after each call."""
        if not self._on_gpu:
            return action

        def watched() -> object:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            self._events.append((start, end))
            start.record()
            found = action()
            end.record()
            return found

        return watched

    def seconds(self) -> list[float]:
        """Of each call so far, as the GPU saw them."""
        for _, end in self._events:
            end.synchronize()
        return [float(start.elapsed_time(end)) / 1000 for start, end in self._events]


def warm(action: Action, device: torch.device, most: float = MOST) -> str:
    """Call until a GPU's clock stands still, or where it tells none, the time of a call; in words, how that ended."""
    began, seen = time.monotonic(), list[float]()
    told = SM_CLOCK in card.state(device)
    while (spent := time.monotonic() - began) < most:
        times: list[float] = []
        until = time.monotonic() + APART
        while not times or time.monotonic() < until:
            times.append(seconds(action, device))
        seen.append(float(card.state(device)[SM_CLOCK].split()[0]) if told else statistics.median(times))
        last = seen[-READINGS:]
        if len(last) == READINGS and max(last) <= (1 + STEADY) * min(last):
            what = f"{last[-1]:.0f} MHz" if told else f"{1e6 * last[-1]:.0f} µs a call"
            return f"steady at {what} after {time.monotonic() - began:.1f} s"
    return f"not steady after {spent:.1f} s"


def flush(device: torch.device) -> tuple[Action, int]:
    """What fills a GPU's L2 cache with other data, and how many bytes that writes; on a processor, nothing and 0."""
    if device.type != "cuda":
        return (lambda: None), 0
    size = 2 * int(torch.cuda.get_device_properties(device).L2_cache_size)
    other = torch.empty(size, dtype=torch.uint8, device=device)
    return other.zero_, size


def rates(device: torch.device) -> dict[str, str]:
    """What the device says of its clocks and its state at this moment; nothing where it does not tell."""
    if device.type == "cuda":
        return card.state(device)
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    clocks = [float(line.partition(":")[2]) for line in lines if line.startswith("cpu MHz")]
    return {"cpu": f"{min(clocks):.0f}–{max(clocks):.0f} MHz"} if clocks else {}
