"""Any `torch.optim.Optimizer`, unchanged: one object a replica, over views of the stacked weights."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from grokbench.models.transformer import Stack
from grokbench.numerics import rng
from grokbench.numerics.frame import unchanged
from grokbench.spec import OptimizerSpec, RunSpec, UsageError, given
from grokbench.spec.errors import out_of_memory
from grokbench.spec.foreign import no_exit
from grokbench.spec.plugins import place
from grokbench.spec.registry import RESERVED, load

SEEDS = 64  # of so many steps of a run are drawn at once


class PerReplica:
    """Gives every replica an optimizer of its own that sees ordinary, named 2-D and 1-D parameters.

    What the optimizer draws from torch's global generator comes from the run's own stream, and the generator
    is put back afterwards.
    """

    recordable = False  # what foreign code does may depend on anything

    def __init__(self, weights: Stack) -> None:
        self._weights = weights
        replicas = len(weights.flat)
        self._optimizers: list[torch.optim.Optimizer | None] = [None] * replicas
        self._specs: list[OptimizerSpec | None] = [None] * replicas
        self._keys = [0] * replicas
        self._rates: list[list[Any]] = [[] for _ in range(replicas)]
        self._parameters: list[dict[str, nn.Parameter]] = [{} for _ in range(replicas)]

    def load(self, slot: int, run: RunSpec) -> None:
        self.make(slot, run.optimizer, run.key)

    def make(self, slot: int, spec: OptimizerSpec, key: int) -> None:
        """Make the optimizer of the run with this key."""
        self._parameters[slot] = {name: nn.Parameter(view[slot]) for name, view in self._weights.views.items()}
        self._specs[slot], self._keys[slot] = spec, key
        with foreign(spec, key, 0, self._weights.flat.device):
            optimizer = build(spec, list(self._parameters[slot].items()))
        if spec.warmup and any("lr" not in group for group in optimizer.param_groups):
            raise UsageError(f"{spec.name} has no rate 'lr' in its parameter groups, so warmup cannot act on it")
        if two_modes(optimizer):
            with foreign(spec, key, 0, self._weights.flat.device):
                optimizer.train()  # type: ignore[attr-defined]
            self._check(slot, spec)
        self._optimizers[slot] = optimizer
        self._rates[slot] = [float(group["lr"]) for group in optimizer.param_groups] if spec.warmup else []

    def step(self, gradients: Stack, count: Tensor, warmth: Tensor | None) -> None:
        for slot in self._given(gradients):
            self._step(slot, count, warmth)

    def _given(self, gradients: Stack) -> list[int]:
        """The slots that are to be stepped, and whose parameters now have these gradients."""
        finite = gradients.flat.isfinite().all(1).tolist()
        fresh = Stack(gradients.slices, gradients.flat.clone()).views  # which an optimizer may keep or write to
        found = []
        for slot, spec in enumerate(self._specs):
            if spec is None:
                continue  # an idle slot
            if not finite[slot]:  # foreign code may fail on these; the loss now says that the run has diverged
                self._weights.flat[slot] = torch.nan
            for name, parameter in self._parameters[slot].items():
                parameter.grad = fresh[name][slot] if finite[slot] else None
            found += [slot] * finite[slot]
        return found

    def _step(self, slot: int, count: Tensor, warmth: Tensor | None) -> None:
        optimizer, spec = self._optimizers[slot], self._specs[slot]
        assert optimizer
        assert spec
        # After the warm-up, the rates are the optimizer's own affair
        if warmth is not None and count[slot] <= spec.warmup:
            for group, rate in zip(optimizer.param_groups, self._rates[slot], strict=True):
                _set_rate(group, rate * float(warmth[slot]))
        with foreign(spec, self._keys[slot], int(count[slot]), self._weights.flat.device):
            optimizer.step()
        self._check(slot, spec)

    @contextmanager
    def evaluating(self, slots: Sequence[int], count: Tensor) -> Iterator[None]:
        """Have these slots' weights as the optimizers want them evaluated, where they tell these from those they train.

        Afterwards the weights are as before to the last bit, so how often a run is evaluated does not change it.
        """
        flat = self._weights.flat
        switched = [(slot, flat[slot].clone()) for slot in slots if two_modes(self._optimizers[slot])]
        for slot, _ in switched:
            self._switch(slot, "eval", int(count[slot]))
        try:
            yield
        finally:
            for slot, trained in switched:
                self._switch(slot, "train", int(count[slot]))
                flat[slot] = trained

    def _switch(self, slot: int, mode: str, count: int) -> None:
        spec = self._specs[slot]
        assert spec
        with foreign(spec, self._keys[slot], count, self._weights.flat.device):
            getattr(self._optimizers[slot], mode)()
        self._check(slot, spec)

    def _check(self, slot: int, spec: OptimizerSpec) -> None:
        """Optimizers may put new data into a parameter; bring it home. Its shape they may not change."""
        for name, parameter in self._parameters[slot].items():
            home = self._weights.views[name][slot]
            if parameter.shape != home.shape:
                raise UsageError(
                    f"{spec.name} changed the shape of {name} from {tuple(home.shape)} to {tuple(parameter.shape)}"
                )
            if parameter.data_ptr() != home.data_ptr():
                home.copy_(parameter.data)
                parameter.data = home

    def clear(self, slot: int) -> None:
        self._optimizers[slot] = self._specs[slot] = None

    def select(self, slots: Sequence[int], weights: Stack) -> None:
        for name in ("_optimizers", "_specs", "_keys", "_rates", "_parameters"):
            setattr(self, name, [getattr(self, name)[slot] for slot in slots])
        self._weights = weights
        for slot, parameters in enumerate(self._parameters):
            for name, parameter in parameters.items():
                parameter.data = weights.views[name][slot]


def two_modes(optimizer: torch.optim.Optimizer | None) -> bool:
    """Whether it trains other weights than it wants evaluated, as schedule-free ones do (arXiv 2405.15682)."""
    return all(callable(getattr(optimizer, mode, None)) for mode in ("train", "eval"))


def _set_rate(group: dict[str, Any], rate: float) -> None:
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def build(spec: OptimizerSpec, named: list[tuple[str, nn.Parameter]], **other: Any) -> torch.optim.Optimizer:
    """The plug-in's own optimizer of these parameters. Raises `UsageError` if it makes something else.

    other: settings that no text can have, as a tensor, in place of those of the spec.
    """
    arguments = {name: value for name, value in spec.hyperparameters if name not in RESERVED} | other
    make = load(spec.name)
    given.check(spec)
    is_class = inspect.isclass(make) and issubclass(make, torch.optim.Optimizer)
    optimizer = make([p for _, p in named] if is_class else named, **arguments)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UsageError(f"{spec.name} made a {type(optimizer).__name__}, not a torch.optim.Optimizer")
    return optimizer


def foreign(spec: OptimizerSpec, key: int, count: int, device: torch.device) -> AbstractContextManager[None]:
    """Run foreign code in a frame, on the random numbers of the run with this key, for its step number `count`."""
    block, place = divmod(count, SEEDS)
    return framed(spec, _seeds(key, block)[place], count, device)


@functools.lru_cache(maxsize=256)
def _seeds(key: int, block: int) -> list[int]:
    """The seeds of a block of steps, since drawing them one by one takes as long as a step of a small model."""
    counts = torch.arange(block * SEEDS, (block + 1) * SEEDS)
    drawn: list[int] = rng.words(rng.key_tensor(key).expand(SEEDS), rng.Stream.OPTIMIZER, counts, 1)[:, 0].tolist()
    return drawn


@contextmanager
def framed(spec: OptimizerSpec, seed: int, count: int, device: torch.device) -> Iterator[None]:
    """Run foreign code, with gradients, on random numbers of this seed; what it does wrong is a `UsageError`.

    That is what it raises, an attempt to end the process included, and what it changes of torch's global settings,
    which is undone: the runs beside it would change with them. Out of memory is the machine's failure, not the
    optimizer's, and passes unchanged.
    """
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Torch's own `manual_seed` also queues the seed for devices that are not used, which takes most of its time.
        (torch.manual_seed if device.type == "cuda" else torch.default_generator.manual_seed)(seed)
        try:
            with torch.enable_grad(), no_exit(), unchanged() as changes:
                yield
        except (Exception, SystemExit) as error:
            if out_of_memory(error) or isinstance(error, UsageError):
                raise
            when = f"failed at step {count}" if count else "could not be made"
            what = f"{type(error).__name__}: {error}{place(error)}"
            raise UsageError(f"the optimizer {spec.name} {when}: {what}") from error
        if changes:
            when = f"at step {count}" if count else "when it was made"
            raise UsageError(f"the optimizer {spec.name} changed torch's global settings {when}: {', '.join(changes)}")
