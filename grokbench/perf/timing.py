"""How long a candidate optimizer takes against a baseline: its own step, and a whole training step."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from grokbench.claims import presets
from grokbench.engine.kinds import ensemble
from grokbench.models.module import parameters
from grokbench.models.transformer import Stack, row_size
from grokbench.numerics.frame import numerics
from grokbench.optim.stack import Optimizer
from grokbench.perf import clock
from grokbench.perf.race import Clock, Race, race
from grokbench.records import provenance
from grokbench.records.provenance import Provenance
from grokbench.spec import OptimizerSpec, RunSpec, UsageError, registry
from grokbench.training import cores
from grokbench.training.checkout import Checkout
from grokbench.training.local import resolve_device

KINDS = ("optimizer", "training")
STEPS = 2  # optimizer steps in one timed call
SLOWDOWN = 1.3  # that `self_test` plants


@dataclass(frozen=True)
class Request:
    """What to time. seconds: of each of the two races, roughly. margin: as a share; floor: in seconds a step.

    candidate_path: the candidate is imported from there.
    """

    baseline: str
    candidate: str
    preset: str = "ci"
    model: str | None = None
    replicas: int = 8
    seconds: float = 10.0
    margin: float = 0.05
    floor: float = 20e-6
    device: str = "auto"
    threads: int | None = None
    candidate_path: Path | str | None = None


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
    def passed(self) -> bool:
        """Whether nothing is shown to be slower."""
        return not self.slower

    @property
    def slower(self) -> bool:
        """Whether any kind of step is slower, beyond margin and floor."""
        return any(timing.verdict == "slower" for timing in self.timings)

    def __repr__(self) -> str:
        return "; ".join(f"{t.name} {t.verdict}, {t.race.ratio:.2f} times" for t in self.timings)


def run(request: Request, slowdown: float = 1.0) -> Result:
    """Time both optimizers. slowdown: planted into the candidate, by waiting. Raises `UsageError`.

    With a path for the candidate, each has a process of its own, and these take turns.
    """
    _check(request)
    device = resolve_device(request.device)
    if request.candidate_path is None:
        return _run(request, slowdown, torch.device(device), [_Here(), _Here()])
    homes = [Checkout(None), Checkout(Path(request.candidate_path))]
    try:
        return _run(request, slowdown, torch.device(device), homes)
    finally:
        for home in homes:
            home.close()


def _run(request: Request, slowdown: float, device: torch.device, homes: Sequence[_Home]) -> Result:
    preset = presets.get(request.preset, request.model)
    texts = request.baseline, request.candidate
    specs = [home.parse(text, preset.optimizers) for home, text in zip(homes, texts, strict=True)]
    before, timings = clock.rates(device), []
    for kind in KINDS:
        clocks: list[Clock] = []
        for home, spec, factor in zip(homes, specs, (1.0, slowdown), strict=True):
            run = RunSpec(preset.tasks[0], preset.softmaxes[0], preset.model, spec, preset.criterion, preset.batch, 0)
            place = len(clocks)
            steps = home.call(_prepare, place, kind, run, request.replicas, device, request.threads or 1, factor)
            clocks.append(functools.partial(home.call, _sample, place))
        if device.type == "cuda":
            clock.warm(clocks[0], device, most=request.seconds)
        found = race(clocks[0], clocks[1], request.seconds / steps)
        for place, (home, text) in enumerate(zip(homes, texts, strict=True)):
            if not home.call(_finite, place):
                raise UsageError(f"{text} left the finite numbers while it was timed: lower its rate")
        timings.append(Timing(f"{kind} step", found, found.verdict(request.margin, request.floor)))
    with numerics(request.threads or 1):
        here = provenance.capture(device.type)
    return Result(request, (specs[0], specs[1]), tuple(timings), here, (before, clock.rates(device)))


class _Home(Protocol):
    """Where an arm lives."""

    def parse(self, text: str, presets: Mapping[str, str]) -> OptimizerSpec: ...

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any: ...


class _Here:
    """This process."""

    def parse(self, text: str, presets: Mapping[str, str]) -> OptimizerSpec:
        return registry.parse(text, presets)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


_clocks: dict[int, Clock] = {}  # of the arms that live in this process
_weights: dict[int, Callable[[], Tensor]] = {}


def _prepare(
    place: int, kind: str, run: RunSpec, replicas: int, device: torch.device, threads: int, slowdown: float
) -> int:
    """Make ready to time one kind of step of an arm; how many steps a call is."""
    steps = STEPS if kind == "optimizer" else max(1, run.task.train_rows // run.batch)
    action, _weights[place] = (_optimizer if kind == "optimizer" else _training)(run, replicas, device, threads)
    _clocks[place] = _clock(action, device, steps, slowdown)
    return steps


def _sample(place: int) -> float:
    return _clocks[place]()


def _finite(place: int) -> bool:
    """Whether an arm's weights still are; those that are not take less time."""
    return bool(_weights[place]().isfinite().all())


def _check(request: Request) -> None:
    cores.check(request.threads)
    limits = {
        "replicas": (request.replicas, 1, 4096),
        "seconds": (request.seconds, 0, 3600),
        "margin": (request.margin, 0, 10),
        "floor": (request.floor, 0, 1),
    }
    for name, (value, least, most) in limits.items():
        if not least <= value <= most:
            raise UsageError(f"{name} must be at least {least} and at most {most}, not {value:g}")


Prepared = tuple[clock.Action, Callable[[], Tensor]]
"""What is timed, and the weights that it changes."""


def _optimizer(run: RunSpec, replicas: int, device: torch.device, threads: int) -> Prepared:
    """Some steps of the optimizer alone, with the same gradients again and again."""
    slices = parameters(run.model, run.task)
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
        with numerics(threads):
            for _ in range(STEPS):
                optimizer.step(gradients)

    return action, lambda: weights.flat


def _training(run: RunSpec, replicas: int, device: torch.device, threads: int) -> Prepared:
    """An epoch of training, without evaluation."""
    stack = ensemble(run, replicas, device, threads=threads)
    for slot in range(replicas):
        stack.load(slot, replace(run, replica=slot))
    return stack.train, lambda: torch.cat([w.flatten() for i in range(replicas) for w in stack.weights(i).values()])


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
    same = replace(request, candidate=request.baseline, candidate_path=None)
    return run(same), run(same, SLOWDOWN)
