"""How long a candidate optimizer takes against a baseline: its own step, and a whole training step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from grokbench import presets, provenance
from grokbench.ensemble import Ensemble
from grokbench.executor import resolve_device
from grokbench.optim import registry
from grokbench.optim.stacked import Optimizer
from grokbench.perf import clock
from grokbench.perf.race import Clock, Race, race
from grokbench.provenance import Provenance
from grokbench.spec import OptimizerSpec, RunSpec, UsageError
from grokbench.transformer import Stack, layout, row_size

STEPS = 4  # optimizer steps in one timed call
SLOWDOWN = 1.3  # that `self_test` plants


@dataclass(frozen=True)
class Request:
    """What to time. seconds: of each of the two races, roughly. margin: as a share; floor: in seconds a step."""

    baseline: str
    candidate: str
    preset: str = "ci"
    replicas: int = 8
    seconds: float = 10.0
    margin: float = 0.05
    floor: float = 20e-6
    device: str = "auto"
    threads: int | None = None


@dataclass(frozen=True, eq=False)
class Timing:
    """A race of one kind of step, with its verdict. Times of `race` are of one step of all replicas."""

    name: str
    race: Race
    verdict: str


@dataclass(frozen=True, eq=False)
class Result:
    """Timings of the optimizer's step and of the training step. clocks: what the device said before and after."""

    request: Request
    arms: tuple[OptimizerSpec, OptimizerSpec]
    timings: tuple[Timing, ...]
    provenance: Provenance
    clocks: tuple[dict[str, str], dict[str, str]]

    @property
    def slower(self) -> bool:
        """Whether any kind of step is slower, beyond margin and floor."""
        return any(timing.verdict == "slower" for timing in self.timings)

    def __repr__(self) -> str:
        return "; ".join(f"{t.name} {t.verdict}, {t.race.ratio:.2f} times" for t in self.timings)


def run(request: Request, slowdown: float = 1.0) -> Result:
    """Time both optimizers. slowdown: planted into the candidate, by waiting. Raises `UsageError`."""
    _check(request)
    device = torch.device(resolve_device(request.device))
    if request.threads:
        torch.set_num_threads(request.threads)
    preset = presets.get(request.preset)
    specs = [registry.parse(text, preset.optimizers) for text in (request.baseline, request.candidate)]
    runs = [
        RunSpec(preset.tasks[0], preset.softmaxes[0], preset.model, spec, preset.criterion, preset.batch, 0)
        for spec in specs
    ]
    before, timings = clock.rates(device), []
    for name, make, steps in (("optimizer step", _optimizer, STEPS), ("training step", _training, _steps(runs[0]))):
        actions = [make(run, request.replicas, device) for run in runs]
        clocks = [
            _clock(action, device, steps, factor) for action, factor in zip(actions, (1.0, slowdown), strict=True)
        ]
        found = race(clocks[0], clocks[1], request.seconds / steps)
        timings.append(Timing(name, found, found.verdict(request.margin, request.floor)))
    here = provenance.capture(device.type)
    return Result(request, (specs[0], specs[1]), tuple(timings), here, (before, clock.rates(device)))


def _check(request: Request) -> None:
    limits = {
        "replicas": (request.replicas, 1, 4096),
        "seconds": (request.seconds, 0, 3600),
        "margin": (request.margin, 0, 10),
        "floor": (request.floor, 0, 1),
    }
    for name, (value, least, most) in limits.items():
        if not least <= value <= most:
            raise UsageError(f"{name} must be at least {least} and at most {most}, not {value:g}")


def _steps(run: RunSpec) -> int:
    return max(1, run.task.train_rows // run.batch)


def _optimizer(run: RunSpec, replicas: int, device: torch.device) -> clock.Action:
    """Some steps of the optimizer alone, with the same gradients again and again."""
    slices = layout(run.model, run.task.vocabulary, run.task.classes)
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, run.model.dtype)
    weights, gradients = (
        Stack(slices, 0.1 * torch.randn(replicas, row_size(slices), generator=generator, dtype=dtype).to(device))
        for _ in range(2)
    )
    optimizer = Optimizer(run.optimizer, weights)
    for slot in range(replicas):
        optimizer.load(slot, replace(run, replica=slot))

    def action() -> None:
        for _ in range(STEPS):
            optimizer.step(gradients)

    return action


def _training(run: RunSpec, replicas: int, device: torch.device) -> clock.Action:
    """An epoch of training, without evaluation."""
    ensemble = Ensemble(run, replicas, device)
    for slot in range(replicas):
        ensemble.load(slot, replace(run, replica=slot))
    return ensemble.train


def _clock(action: clock.Action, device: torch.device, steps: int, slowdown: float) -> Clock:
    """Seconds a step; a planted slowdown waits after each call for as long as it needs."""

    def slowed() -> None:
        begun = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        end = begun + slowdown * (time.perf_counter() - begun)
        while time.perf_counter() < end:
            pass

    timed: Callable[[], object] = action if slowdown == 1 else slowed
    return lambda: clock.seconds(timed, device) / steps


def self_test(request: Request) -> tuple[Result, Result]:
    """The baseline against itself, as it is and with a planted slowdown: the first should not be flagged."""
    same = replace(request, candidate=request.baseline)
    return run(same), run(same, SLOWDOWN)
