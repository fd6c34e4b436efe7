"""The stages of `first_gpu.py`: each yields rows of figures, and ends when its time does."""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as functional
from torch import Tensor
from torch.optim._muon import _zeropower_via_newtonschulz

from grokbench.claims import presets
from grokbench.engine import sizing
from grokbench.engine.ensemble import Ensemble
from grokbench.engine.pack import Pack
from grokbench.models.transformer import Stack, layout, row_size
from grokbench.numerics.frame import numerics
from grokbench.numerics.kernels import choice
from grokbench.optim.newton_schulz import QUINTIC, orthogonalize
from grokbench.optim.stack import Optimizer
from grokbench.options import Options
from grokbench.perf import clock
from grokbench.session import Session, cases
from grokbench.softmaxes import SOFTMAX
from grokbench.spec import RunSpec, registry
from grokbench.spec.errors import out_of_memory
from grokbench.verify import CHECKS, verify
from grokbench.verify.whole import plain_loop

Row = dict[str, Any]
ROOT = Path(__file__).parents[1]
LEAST = 3  # timed calls
MOST = 200


class SkippedError(Exception):
    """A stage that cannot begin, or whose time is over. cut: it had begun."""

    def __init__(self, reason: str, *, cut: bool = False) -> None:
        super().__init__(reason)
        self.cut = cut


@dataclass
class Setting:
    """Where, and how large; smaller in tests. end: of the present stage, on the monotonic clock."""

    device: torch.device
    folder: Path
    end: float = 0.0
    replicas: tuple[int, ...] = (16, 64, 256, 1024, 4096)
    throughput_presets: tuple[str, ...] = ("ci", "paper")
    matrices: tuple[tuple[int, int, int], ...] = (
        (64, 64, 64),
        (1024, 64, 64),
        (64, 256, 64),
        (1024, 256, 64),
        (64, 128, 128),
        (512, 128, 128),
        (64, 512, 128),
        (64, 512, 512),
    )
    scores: tuple[tuple[int, int, int], ...] = ((64, 256, 31), (1024, 256, 31), (64, 512, 97))
    stepped: tuple[int, ...] = (64, 1024)
    at_once: tuple[int, ...] = (1, 2, 4, 8)
    checks: tuple[str, ...] = tuple(CHECKS)
    table: dict[str, Any] = field(default_factory=lambda: {"preset": "ci"})
    paper: dict[str, Any] = field(
        default_factory=lambda: {"preset": "paper", "tasks": ("add",), "softmaxes": ("softmax",)}
    )

    def left(self) -> float:
        return max(0.0, self.end - time.monotonic())

    def check(self) -> None:
        """Raise `SkippedError` once the time is over."""
        if not self.left():
            raise SkippedError("its time is over", cut=True)


def verification(setting: Setting) -> Iterator[Row]:
    """What `grokbench doctor --verify` finds."""
    for name in setting.checks:
        setting.check()
        (found,) = verify(setting.device.type, {name: CHECKS[name]})
        yield vars(found)


def tests(setting: Setting) -> Iterator[Row]:
    """The tests that need a GPU, in a process of their own."""
    if importlib.util.find_spec("pytest") is None:
        raise SkippedError("pytest is not installed")
    if setting.device.type != "cuda":
        raise SkippedError("there is no GPU, and these tests need one")
    # Without the options of pyproject.toml, which ask for plug-ins that may not be there.
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-o", "addopts=", "-p", "no:cacheprovider"]
    command += ["--continue-on-collection-errors", "-W", "default", "tests"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)])}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=setting.left()
        )
        said = done.stdout + done.stderr
        status = "holds" if done.returncode == 0 else "FAILED"
    except subprocess.TimeoutExpired as late:
        said, status = (late.stdout or b"").decode(errors="replace"), "cut off"
    (setting.folder / "tests.txt").write_text(said)
    lines = [line for line in said.splitlines() if line.strip()]
    yield {"what": "pytest -m gpu", "status": status, "last line": lines[-1] if lines else "", "all": "tests.txt"}


def microseconds(action: Callable[[], object], setting: Setting, seconds: float = 0.5) -> float:
    """The median of one call's time. The same data again and again, so they lie in the caches where they fit."""
    with numerics():
        action()
        if clock.seconds(action, setting.device) > seconds:  # warm enough
            return 1e6 * clock.seconds(action, setting.device)
        times: list[float] = []
        began = time.monotonic()
        while len(times) < LEAST or (len(times) < MOST and time.monotonic() < began + min(seconds, setting.left())):
            times.append(clock.seconds(action, setting.device))
    return 1e6 * statistics.median(times)


def _plainly(action: Callable[[], object]) -> Callable[[], object]:
    """The same without Triton kernels."""

    def run() -> object:
        with mock.patch.object(choice, "_installed", return_value=False):
            return action()

    return run


def kernels(setting: Setting) -> Iterator[Row]:
    """Ours, its plain form, torch's own and gram-newton-schulz, in microseconds a call."""
    for count, out, into in setting.matrices:
        setting.check()
        yield _newton_schulz(torch.randn(count, out, into, device=setting.device), setting)
    for shape in setting.scores:
        for name in SOFTMAX:
            setting.check()
            yield _loss(name, torch.randn(*shape, device=setting.device, requires_grad=True), setting)
    for preset in setting.throughput_presets:
        for name in ("adamw", "muon"):
            for replicas in setting.stepped:
                setting.check()
                yield _step(a_run(preset, name), replicas, setting)


def _row(what: str, shape: Any, setting: Setting, **actions: Callable[[], object] | None) -> Row:
    times = {name: action and microseconds(action, setting) for name, action in actions.items()}
    return {"what": what, "shape": "×".join(map(str, shape)), **times}


def _newton_schulz(g: Tensor, setting: Setting) -> Row:
    def ours() -> object:
        return orthogonalize(g, 5, QUINTIC)

    gram = None
    if setting.device.type == "cuda" and importlib.util.find_spec("gram_newton_schulz"):
        module = importlib.import_module("gram_newton_schulz")
        other = module.GramNewtonSchulz(ns_coefficients=[QUINTIC] * 5, gram_newton_schulz_reset_iterations=[2])

        def gram() -> object:
            return other(g)

    def theirs() -> object:
        return [_zeropower_via_newtonschulz(matrix, QUINTIC, 5, 1e-7) for matrix in g]

    return _row("Newton–Schulz", g.shape, setting, ours=ours, plain=_plainly(ours), torch=theirs, gram=gram)


def _loss(name: str, z: Tensor, setting: Setting) -> Row:
    labels = torch.randint(z.shape[-1], z.shape[:-1], device=z.device)

    def ours() -> object:
        return torch.autograd.grad(SOFTMAX[name].loss(z, labels).sum(), z)

    def theirs() -> object:
        return torch.autograd.grad(functional.cross_entropy(z.flatten(0, 1), labels.flatten(), reduction="sum"), z)

    return _row(f"{name} loss and slope", z.shape, setting, ours=ours, plain=_plainly(ours), torch=theirs)


def _step(run: RunSpec, replicas: int, setting: Setting) -> Row:
    """A step of the stacked optimizer; torch's is AdamW, fused, over all weights as one parameter."""
    slices = layout(run.transformer, run.task.vocabulary, run.task.classes)
    weights, gradients = (
        Stack(slices, 0.1 * torch.randn(replicas, row_size(slices), device=setting.device)) for _ in range(2)
    )
    optimizer = Optimizer(run.optimizer, weights)
    for slot in range(replicas):
        optimizer.load(slot, run)
    parameter = torch.nn.Parameter(weights.flat.clone())
    parameter.grad = gradients.flat
    fused = torch.optim.AdamW([parameter], fused=True)

    def ours() -> object:
        return optimizer.step(gradients)

    shape = weights.flat.shape
    return _row(f"{run.optimizer.name} step", shape, setting, ours=ours, plain=_plainly(ours), torch=fused.step)


def a_run(preset: str, name: str) -> RunSpec:
    """Replica 0 of addition under softmax in a preset."""
    p = presets.get(preset)
    return RunSpec(p.tasks[0], "softmax", p.model, registry.parse(name, p.optimizers), p.criterion, p.batch, 0)


def throughput(setting: Setting) -> Iterator[Row]:
    """Replica-steps a second of training alone, more and more replicas, against a plain loop of one."""
    for preset in setting.throughput_presets:
        for name in ("adamw", "muon"):
            setting.check()
            run = a_run(preset, name)
            steps = max(1, run.task.train_rows // run.batch)
            plain = steps / (microseconds(plain_loop(run, setting.device), setting) * 1e-6)
            yield {"preset": preset, "optimizer": name, "replicas": 1, "form": "plain loop", "steps a second": plain}
            for form in ("eager", "graph without kernels", "graph", "compiled graph"):
                names = {"preset": preset, "optimizer": name, "form": form}
                yield from _scaled(run, steps, plain, setting, names)
            names = {"preset": preset, "optimizer": name}
            yield from _at_once(run, steps, plain, setting, names)
            yield from _jax(run, steps, plain, setting, {**names, "form": "JAX"})


def _at_once(run: RunSpec, steps: int, plain: float, setting: Setting, names: Row) -> Iterator[Row]:
    """Ensembles as an executor trains them, with a look at 128 rows of both parts after an epoch, several at once."""
    if setting.device.type != "cuda":
        return
    size = sizing.pack_size(run, "cuda")
    endless = replace(run, criterion=replace(run.criterion, budget=10**9, hold=10**9))
    packs: list[Pack] = []
    for count in setting.at_once:
        setting.check()
        row = {**names, "form": f"{count} of {size.slots} at once", "replicas": count * size.slots}
        if count * size.bytes > sizing.room("cuda"):
            yield {**row, "not measured": "more than half of the memory"}
            return
        while len(packs) < count:
            first = len(packs) * size.slots
            runs = [replace(endless, replica=replica) for replica in range(first, first + size.slots)]
            packs.append(Pack(size, {one.digest: one for one in runs}))
            packs[-1].take(runs, setting.device)

        def epoch() -> None:
            for pack in packs:
                pack.launch()
            for pack in packs:
                pack.epoch()

        call = microseconds(epoch, setting) * 1e-6
        yield {**row, **_speed(count * size.slots * steps / call, plain), "ms an epoch": 1e3 * call}


def _jax(run: RunSpec, steps: int, plain: float, setting: Setting, names: Row) -> Iterator[Row]:
    """The same training in JAX: jitted, vmapped over the replicas, and scanned over the steps of an epoch."""
    if importlib.util.find_spec("jax") is None:
        yield {**names, "not measured": "jax is not installed"}
        return
    jax_loop = importlib.import_module("jax_loop")
    for replicas in setting.stepped:
        setting.check()
        row = {**names, "replicas": replicas}
        try:
            call = microseconds(jax_loop.Trainer(run, replicas, setting.device.type).train, setting) * 1e-6
        except RuntimeError as error:  # it has no GPU, or too little memory
            yield {**row, "not measured": str(error).splitlines()[0]}
            return
        yield {**row, **_speed(replicas * steps / call, plain), "ms an epoch": 1e3 * call}


def _speed(speed: float, plain: float) -> Row:
    return {"steps a second": speed, "times the plain loop": speed / plain}


def _scaled(run: RunSpec, steps: int, plain: float, setting: Setting, names: Row) -> Iterator[Row]:
    """In one form: launched step by step, as a recorded graph of an epoch, or with another step in such a graph."""
    form, on_gpu = names["form"], setting.device.type == "cuda"
    if form != "eager" and not on_gpu:
        return  # there are no graphs on a processor, and compiling takes minutes
    compile = form == "compiled graph"
    if compile and sizing.compiler("cuda") is None:
        return
    seconds = 0.0  # of a call with one replica, as far as is known
    for replicas in setting.replicas:
        setting.check()
        row = {**names, "replicas": replicas}
        if 4 * seconds * replicas > setting.left():
            yield {**row, "not measured": f"about {4 * seconds * replicas:.0f} s, and {setting.left():.0f} s are left"}
            return
        if (needed := replicas * _bytes(run)) > (free := _free(setting.device)):
            yield {**row, "not measured": f"about {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"}
            return
        try:
            ensemble = Ensemble(run, replicas, setting.device, compile=compile, graphs=form != "eager")
            for slot in range(replicas):
                ensemble.load(slot, replace(run, replica=slot))
            train = _plainly(ensemble.train) if form == "graph without kernels" else ensemble.train
            call = microseconds(train, setting) * 1e-6
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            yield {**row, "not measured": "out of memory"}
            return
        seconds = call / replicas
        yield {**row, **_speed(replicas * steps / call, plain), "ms an epoch": 1e3 * call}


def _bytes(run: RunSpec) -> int:
    """Memory of a replica in training, with all that is kept for the backward pass, roughly."""
    m, t = run.transformer, run.task
    rows = min(run.batch, t.train_rows) * (t.positions if m.depth > 1 else 1)
    kept = 4 * m.depth * rows * (3 * m.feed_forward + 10 * m.width)
    return 2 * sizing.bytes_of_a_replica(run) + kept


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info(device)[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def table(setting: Setting) -> Iterator[Row]:
    """The verdicts of the whole table of `ci`, as far as time allows."""
    yield from _verdicts(setting, setting.table)


def paper(setting: Setting) -> Iterator[Row]:
    """One cell of `paper`."""
    yield from _verdicts(setting, setting.paper)


def _verdicts(setting: Setting, asked: dict[str, Any]) -> Iterator[Row]:
    """A row a cell; the runs stay in runs.sqlite, so that a second call goes on where the first was cut off."""
    began = time.monotonic()

    def listener(progress: Any) -> None:
        if not setting.left():
            running = ", ".join(f"epoch {slot.epoch}" for slot in progress.running[:3])
            done = f"{progress.done} of {progress.wanted} runs done{f', others at {running}' * bool(running)}"
            raise SkippedError(f"its time is over: {done}", cut=True)

    setting.check()
    if setting.device.type == "cpu" and sizing.pack_size(a_run(asked["preset"], "adamw"), "cpu").compiled:
        raise SkippedError("a processor would need minutes to compile its step and for an epoch")
    options = Options(store=setting.folder / "runs.sqlite", device=setting.device.type, **asked)
    with Session(options, cases(options), listener=listener) as session:
        for case in session.selected:
            if not case.cell:
                continue
            v = session.verdict(case)
            grokked = ", ".join(f"{v.grokked[arm]} of {v.runs[arm]}" for arm in v.arms)
            yield {
                "cell": str(v.cell),
                "verdict": v.status.value,
                "ratio": v.ratio,
                "p": v.p_adjusted,
                "pairs": v.pairs,
                "grokked": grokked,
                "seconds so far": time.monotonic() - began,
            }
