"""How benchmarks are timed: a candidate and a reference in alternation, by one clock, beside the machine's peak."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch

from grokbench.perf import card
from grokbench.perf.clock import Action, Watch, flush, warm
from grokbench.records import provenance

WARMUPS = 2  # calls of each side before the first one that counts
MOST_ROUNDS = 1000
SMOKE_FLOPS = 5e9  # a benchmark that is not timed still runs once, but only if it needs no more than this


def synchronised() -> float:
    """Seconds, once the CUDA device has finished all that it was given."""
    torch.cuda.synchronize()
    return time.perf_counter()


def clock(device: torch.device) -> Callable[[], float]:
    """The clock that sees the work of this device."""
    return synchronised if device.type == "cuda" else time.perf_counter


def seconds(action: Action, device: torch.device) -> float:
    """Seconds that one call takes."""
    now = clock(device)
    start = now()
    action()
    return now() - start


def device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else provenance.processor()


def matrix_peak(device: torch.device) -> float:
    """FLOP/s of a float32 batched product of four matrices, as torch is set: the best of five calls.

    The side is 1024 on a processor and 4096 on a CUDA device, large enough that nothing but arithmetic counts.
    """
    side = 4096 if device.type == "cuda" else 1024
    a, b = torch.randn(2, 4, side, side, device=device)
    out = torch.empty_like(a)

    def product() -> None:
        torch.bmm(a, b, out=out)

    for _ in range(WARMUPS):
        product()
    return 2 * len(a) * side**3 / min(seconds(product, device) for _ in range(5))


class Race:
    """Times a candidate against a reference: A B A B …, so that a change of the machine's speed meets both.

    The candidate's rounds are pytest-benchmark's own; everything else goes to `extra_info`. One call is one round.
    There are as many rounds as fit into `--benchmark-max-time`, at least `--benchmark-min-rounds`.

    On a GPU, pytest-benchmark's clock is the wall's, which waits for the GPU; `extra_info` has the times between CUDA
    events beside it, and what the card says of itself before and after. Both sides begin with other data in the L2
    cache, and the first round waits for steady clocks.
    """

    def __init__(self, benchmark: Any, device: torch.device, peak: Callable[[], float], config: pytest.Config) -> None:
        self.device = device
        self._benchmark, self._peak = benchmark, peak
        self._seconds = float(config.getoption("--benchmark-max-time"))
        self._fewest = int(config.getoption("--benchmark-min-rounds"))
        self._warmed = ""

    def bound(self, flops: float, most: float = math.inf) -> None:
        """Skip where one call of the candidate needs more floating-point operations than `most`.

        Call this before anything large is made. Without timing, the bound is one for a smoke check.
        """
        limit = min(most, SMOKE_FLOPS) if self._benchmark.disabled else most
        if flops > limit:
            pytest.skip(f"one call needs more than {limit:.0e} floating-point operations")

    def note(self, **figures: float) -> None:
        """Record something that was measured beside the race."""
        self._benchmark.extra_info.update(figures)

    def __call__(
        self,
        candidate: Action,
        reference: Action,
        *,
        name: str,
        dtype: torch.dtype,
        shapes: Mapping[str, Sequence[int]],
        counts: Mapping[str, float],
        scale: float = 1,
    ) -> None:
        """Time both. name: the reference's. counts: what one call of the candidate does, above all "flops".

        scale: how many calls of the reference do the work of one call of the candidate. Each count is recorded with
        its rate, `<count>_per_second`; for flops also as `share_of_peak`, of the product in `matrix_peak`.
        """
        samples: list[float] = []
        ours, theirs = Watch(self.device), Watch(self.device)
        cold, flushed = flush(self.device)
        of_reference = theirs.around(reference)

        def before() -> None:
            cold()
            samples.append(seconds(of_reference, self.device))
            cold()

        rounds = 1 if self._benchmark.disabled else self._rounds(candidate, reference)
        state = card.state(self.device)
        self._benchmark.pedantic(ours.around(candidate), setup=before, rounds=rounds)
        if self._benchmark.disabled:
            return
        if self.device.type == "cuda":
            self._on_gpu(ours.seconds(), theirs.seconds(), flushed, state)
        median = self._benchmark.stats.stats.median
        rates = {f"{count}_per_second": value / median for count, value in counts.items()}
        self._benchmark.extra_info.update(
            device=device_name(self.device),
            dtype=str(dtype).removeprefix("torch."),
            threads=torch.get_num_threads(),
            shapes={key: list(shape) for key, shape in shapes.items()},
            reference=name,
            reference_ratio=scale * statistics.median(samples) / median,
            reference_scale=scale,
            reference_samples=samples,
            **counts,
            **rates,
        )
        if "flops" in counts:
            peak = self._peak()
            self._benchmark.extra_info.update(
                peak_flops_per_second=peak, share_of_peak=rates["flops_per_second"] / peak
            )

    def _on_gpu(self, ours: list[float], theirs: list[float], flushed: int, before: dict[str, str]) -> None:
        """Note what a GPU alone can tell."""
        after = card.state(self.device)
        self._benchmark.extra_info.update(
            event_median=statistics.median(ours),
            event_samples=ours,
            reference_event_median=statistics.median(theirs),
            reference_event_samples=theirs,
            l2_flushed_bytes=flushed,
            warm_up=self._warmed,
            card_before=before,
            card_after=after,
            slowed_down_by=card.throttled(after),
        )

    def _rounds(self, candidate: Action, reference: Action) -> int:
        """Warm both up; how many rounds of both fit into the time."""
        for _ in range(WARMUPS):
            reference()
            candidate()
        if self.device.type == "cuda":
            self._warmed = warm(candidate, self.device)
        once = seconds(reference, self.device) + seconds(candidate, self.device)
        return max(self._fewest, min(MOST_ROUNDS, int(self._seconds / once)))
