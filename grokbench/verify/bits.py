"""A run's bits: alone, in company, refilled, on more threads, in other processes, and again."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from grokbench.engine.pack import Pack
from grokbench.engine.sizing import PackSize
from grokbench.numerics.frame import deterministic
from grokbench.records.store import Record, Store
from grokbench.spec import SOFTMAXES, GrokCriterion, RunSpec, machine_failed
from grokbench.training import golden
from grokbench.training.checkout import Checkout
from grokbench.training.local import Executor
from grokbench.verify.finding import FaultError, UnseenError
from grokbench.verify.runs import (
    DEEP,
    OPTIMIZERS,
    SLOTS,
    WIDE,
    a_run,
    alone,
    cases,
    loaded,
    named,
    replicas,
    state,
)

THREADS = (1, 2, 3)
BUDGET = 20  # epochs of a run that is trained twice
PACKS, EPOCHS = 3, 3  # packs that train at once, and for how long: an epoch as it is, one recorded, one replayed


def company(device: torch.device) -> str:
    """Alone, and in another slot beside seven others, one of which diverges."""
    for run in (found := cases()):
        runs = replicas(run, SLOTS)
        together = loaded(dict(enumerate(runs)), SLOTS, device)
        together.diverge(5)
        single = alone(runs[3], device)
        for epoch in (1, 2):
            beside, own = together.epoch(), single.epoch()
            same = torch.equal(state(together, 3), state(single, 0))
            if not (same and all(f[3] == g[0] for f, g in zip(beside, own, strict=True))):
                raise FaultError(f"{named(run)}: after epoch {epoch}, slot 3 of {SLOTS} differs from the run alone")
    return f"{len(found)} runs have the same bits alone and beside {SLOTS - 1}, one of them diverging"


def refill(device: torch.device) -> str:
    """In a slot that another run has left."""
    for run in (found := cases()):
        *runs, last = replicas(run, 4)
        ensemble = loaded(dict(enumerate(runs)), SLOTS if device.type == "cuda" else 3, device)
        ensemble.epoch()
        ensemble.clear(1)
        ensemble.load(1, last)
        single = alone(last, device)
        for _ in range(2):
            ensemble.epoch(), single.epoch()
        if not torch.equal(state(ensemble, 1), state(single, 0)):
            raise FaultError(f"{named(run)}: a run in a slot that another has left differs from the run alone")
    return f"{len(found)} runs have the same bits in a slot that another run has left"


def packs(device: torch.device) -> str:
    """On CUDA, beside other packs that compute at once, each on a stream of its own."""
    if device.type != "cuda":
        raise UnseenError("packs train at once on CUDA alone")
    for run in (found := cases()):
        last, *others = replicas(run, PACKS * SLOTS)
        made = []
        for count in (1, PACKS):
            shares = [[last], *(others[i :: PACKS - 1] for i in range(count - 1))]
            working = [_pack(share[:SLOTS], device) for share in shares]
            for _ in range(EPOCHS):
                for pack in working:
                    pack.launch()
                for pack in working:
                    pack.epoch()
            made.append(working[0].state(0))
        if not torch.equal(*made):
            raise FaultError(f"{named(run)}: a run in one of {PACKS} packs at once differs from the run alone")
    return f"{len(found)} runs have the same bits while {PACKS - 1} other packs train"


def _pack(runs: list[RunSpec], device: torch.device) -> Pack:
    """A pack of so many slots that has begun with these runs, and will not end them."""
    rule = GrokCriterion(budget=1000, hold=100)
    endless = [replace(run, criterion=rule) for run in runs]
    pack = Pack(PackSize(SLOTS, fixed=True, compiled=False), {run.digest: run for run in endless})
    pack.take(endless, device)
    return pack


def threads(device: torch.device) -> str:
    """However many threads torch has; with shapes that it would divide among them."""
    if device.type == "cuda":
        raise UnseenError("a GPU computes in no thread of the processor")
    before = torch.get_num_threads()
    run = a_run(WIDE, OPTIMIZERS[1], "stablemax", p=31, batch=256)
    try:
        made = {}
        for count in THREADS:
            torch.set_num_threads(count)
            ensemble = loaded(dict(enumerate(replicas(run, 3))), 3, device)
            ensemble.train()
            made[count] = state(ensemble, 1)
    finally:
        torch.set_num_threads(before)
    for count, weights in made.items():
        if not torch.equal(weights, made[1]):
            raise FaultError(f"with {count} threads the weights differ from those with one")
    return f"the same bits with {', '.join(map(str, THREADS))} threads"


def process(device: torch.device) -> str:
    """In a fresh process."""
    runs = [a_run(DEEP, text, softmax) for text, softmax in zip(OPTIMIZERS, SOFTMAXES, strict=True)]
    other = Checkout(None)
    try:
        there = other.call(golden.golden, runs, device.type, 2)
    finally:
        other.close()
    if epoch := golden.first_difference(there, golden.golden(runs, device.type, 2)):
        raise FaultError(f"in another process the weights differ from epoch {epoch} on")
    return f"{len(runs)} runs have the same bits in another process"


def twice(device: torch.device) -> str:
    """From its spec to its record, in two fresh stores."""
    run = replace(a_run(DEEP, OPTIMIZERS[1], "sparsemax", p=7), criterion=GrokCriterion(BUDGET))
    runs = replicas(run, 3)
    first, second = (_recorded(runs, device) for _ in range(2))
    for run, one, other in zip(runs, first, second, strict=True):
        # Figures may be NaN, which equals itself in words alone.
        if one.trace != other.trace or repr(one.diagnostics) != repr(other.diagnostics):
            raise FaultError(f"replica {run.replica} has another record the second time")
    return f"{len(runs)} runs have the same curves and diagnostics twice"


def _recorded(runs: list[RunSpec], device: torch.device) -> list[Record]:
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "runs.sqlite") as store:
        found = Executor(store, device.type).records(runs)
        return [found[run.digest] for run in runs]


def operations(device: torch.device) -> str:
    """Whether torch has a deterministic form of every operation of an epoch and its evaluation."""
    for run in (found := cases()):
        ensemble = loaded({0: run}, SLOTS, device, graphs=False)
        with deterministic():
            try:
                ensemble.epoch()
            except RuntimeError as error:
                if machine_failed(error):
                    raise
                raise FaultError(f"{named(run)}: {str(error).splitlines()[0]}") from error
    return f"{len(found)} epochs consist of operations that torch calls deterministic"
