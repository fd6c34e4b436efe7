"""What depends on everything: a compiled step, a verdict, and whether stacking pays."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from grokbench.claims import presets
from grokbench.engine import sizing
from grokbench.options import Options
from grokbench.perf import clock
from grokbench.session import Session, cases
from grokbench.spec import RunSpec, registry
from grokbench.verdicts.verdict import Status
from grokbench.verify import plain
from grokbench.verify.finding import FaultError, UnseenError
from grokbench.verify.runs import DEEP, OPTIMIZERS, SLOTS, a_run, loaded, named, replicas, state
from grokbench.verify.runs import cases as cases_of_runs

ROUNDING = 1e-3  # that float32 weights may differ by after an epoch, if only roundings differ
FASTER = 1.5  # times the plain loop, in replica-steps a second; one slow moment must not fail it
ROUNDS = 3


def compiled(device: torch.device) -> str:
    """On CUDA, a compiled step against the eager one, and the same bits twice."""
    if device.type != "cuda":
        raise UnseenError("a compiled step is compared on CUDA alone; on a processor it takes minutes to make")
    if sizing.compiler(device.type) is None:
        raise UnseenError("Triton is not installed, so nothing is compiled here")
    worst = 0.0
    for text in OPTIMIZERS:
        run = a_run(DEEP, text, "stablemax")
        made = []
        for compile in (False, True, True):
            ensemble = loaded(dict(enumerate(replicas(run, SLOTS))), SLOTS, device, compile=compile)
            for _ in range(2):
                ensemble.train()
            made.append(state(ensemble, 1))
        eager, first, second = made
        if not torch.equal(first, second):
            raise FaultError(f"{named(run)}: compiled, it has other bits the second time")
        error = float((first - eager).norm() / eager.norm())
        if not error <= ROUNDING:
            raise FaultError(f"{named(run)}: compiled, the weights differ by {error:.1e} from the eager ones")
        worst = max(worst, error)
    return f"{len(OPTIMIZERS)} compiled steps give the eager ones' weights, to {worst:.0e}, and the same bits twice"


def kernels(device: torch.device) -> str:
    """On CUDA, steps by Triton's kernels against the plain forms on a processor."""
    if device.type != "cuda":
        raise UnseenError("the kernels of a step are of CUDA alone")
    worst = 0.0
    for run in (found := cases_of_runs()):
        made = []
        for place in (torch.device("cpu"), device):
            ensemble = loaded(dict(enumerate(replicas(run, 2))), 2, place)
            ensemble.train()
            made.append(state(ensemble, 1))
        error = float((made[1] - made[0]).norm() / made[0].norm())
        if not error <= ROUNDING:
            raise FaultError(f"{named(run)}: after an epoch the weights differ by {error:.1e} from a processor's")
        worst = max(worst, error)
    return f"{len(found)} runs have a processor's weights after an epoch, to {worst:.0e}"


def graphs(device: torch.device) -> str:
    """On CUDA, epochs that were recorded as graphs against those that are launched step by step."""
    if device.type != "cuda":
        raise UnseenError("graphs are of CUDA alone")
    for run in (found := cases_of_runs()):
        made = []
        for recorded in (False, True):
            ensemble = loaded(dict(enumerate(replicas(run, 3))), 3, device, graphs=recorded)
            for epoch in range(4):
                if epoch == 2:
                    ensemble.load(0, replicas(run, 4)[3])
                ensemble.advance(16)
            made.append(torch.stack([state(ensemble, slot) for slot in range(3)]))
        if not torch.equal(*made):
            raise FaultError(f"{named(run)}: recorded as a graph, an epoch has other bits")
    return f"{len(found)} runs have the same bits recorded as graphs and launched step by step"


def verdict(device: torch.device, preset: str = "smoke") -> str:
    """Whether a claim with a known answer gets it: that one arm of this preset groks earlier than the other."""
    with tempfile.TemporaryDirectory() as folder:
        options = Options(preset=preset, store=Path(folder) / "runs.sqlite", device=device.type, threads=1)
        with Session(options, cases(options)) as session:
            found = [session.verdict(case) for case in session.selected if case.cell]
            runs = len(session.records)
    baseline, candidate = presets.get(preset).arms
    claim = f"{candidate} groks earlier than {baseline}"
    for v in found:
        if v.status is not Status.SUPPORTED:
            raise FaultError(f"that {claim} in {v.cell} is {v.status.name.lower()}, not supported")
    return f"{runs} runs of {preset}: {claim}"


def throughput(device: torch.device) -> str:
    """Replica-steps a second of sixteen stacked replicas of `ci`, training alone, against a plain loop of one."""
    preset = presets.get("ci")
    optimizer = registry.parse("adamw", preset.optimizers)
    run = RunSpec(preset.tasks[0], "softmax", preset.model, optimizer, preset.criterion, preset.batch, 0)
    runs = replicas(run, 16)
    ensemble = loaded(dict(enumerate(runs)), len(runs), device)
    loop = plain_loop(run, device)
    ratios, speeds = [], []
    for turn in range(ROUNDS + 1):
        own, theirs = clock.seconds(ensemble.train, device) / len(runs), clock.seconds(loop, device)
        if turn:  # the first one warms up
            ratios.append(theirs / own)
            speeds.append(run.task.train_rows // run.batch / own)
    ratio, speed = statistics.median(ratios), statistics.median(speeds)
    said = f"{speed:.0f} replica-steps a second at ci with AdamW, {ratio:.1f} times a plain loop"
    if not ratio >= FASTER:
        raise FaultError(f"{said}, less than {FASTER:g}")
    return said


def plain_loop(run: RunSpec, device: torch.device) -> Callable[[], None]:
    """An epoch of training as most would write it: one replica, torch's own module, loss and optimizer."""
    from grokbench.engine.data import generate

    with device:
        model = plain.Transformer(replace(run.transformer, dropout=0.0), run.task.vocabulary, run.task.classes)
    steppers = plain.optimizers(run, model)
    tokens, labels = (x.to(device) for x in generate(run.task))
    rows = torch.randperm(run.task.rows)[: run.task.train_rows].to(device)

    def epoch() -> None:
        order = rows[torch.randperm(len(rows), device=device)]
        for chosen in torch.split(order, run.batch):
            if len(chosen) < run.batch:
                break
            for stepper in steppers:
                stepper.zero_grad()
            torch.autograd.backward(plain.loss(run.softmax, model(tokens[chosen]), labels[chosen]))
            for stepper in steppers:
                stepper.step()

    return epoch
