"""A pretended GPU: tensors that say they are on CUDA, compute on the processor, and refuse to mix devices as CUDA does.

    with PretendedCuda() as gpu:
        ensemble = Ensemble(run, 4, torch.device("cuda"))
        ...
    gpu.launches, gpu.waits

It finds tensors that were left on the wrong device, counts what a GPU would launch and what the processor would wait
for, and records and replays graphs: inside a recording nothing may wait or come from the processor, and nothing is
changed. It runs no kernels of its own and no cuBLAS, so it says nothing of their bits.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from pretended import Pretended, excused, on_cuda, patches
from torch.func import vmap
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from grokbench.engine import kinds, sizing, vmapped
from grokbench.numerics.kernels import choice

NAME = "a pretended GPU"
aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}
INDEXING = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}  # CUDA takes indices on the processor
# Views, memory that is left as it was, and the question where a tensor is launch nothing.
FREE = {
    "_reshape_alias",
    "_unsafe_view",
    "alias",
    "as_strided",
    "detach",
    "device",
    "diagonal",
    "empty",
    "empty_like",
    "empty_strided",
    "expand",
    "new_empty",
    "new_empty_strided",
    "permute",
    "select",
    "slice",
    "split",
    "split_with_sizes",
    "squeeze",
    "t",
    "transpose",
    "unbind",
    "unfold",
    "unsqueeze",
    "view",
}


class Event:
    """A moment, since everything has been computed when it is recorded."""

    def __init__(self, *, enable_timing: bool = False) -> None:
        self.at = 0.0

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        Pretended.mode.wait()

    def elapsed_time(self, end: Event) -> float:
        return 1000 * (end.at - self.at)


class Stream:
    """Everything is done in order, so streams have nothing to wait for."""

    def wait_stream(self, stream: Stream) -> None:
        """It has been done."""


class Graph:
    """Operations that were recorded instead of run, to be run again on the same tensors."""

    def __init__(self) -> None:
        self.tape: list[tuple[Any, Any, Any, Any]] = []
        self.before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}  # what was written to, and its content
        self.made: set[int] = set()

    def note(self, func: Any, args: Any, kwargs: Any) -> None:
        """Keep what an operation will write to, since recording changes nothing."""
        names = {a.name: a.alias_info is not None and a.alias_info.is_write for a in func._schema.arguments}
        values = {**dict(zip(names, args, strict=False)), **kwargs}
        for name, writes in names.items():
            for tensor in tree_iter(values.get(name)) if writes else ():
                storage = tensor.untyped_storage()
                if storage.data_ptr() not in self.before and storage.data_ptr() not in self.made:
                    whole = torch.empty(0, dtype=tensor.dtype).set_(storage)
                    self.before[storage.data_ptr()] = whole, whole.clone()

    def add(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        given = {t.untyped_storage().data_ptr() for t in tree_iter((args, kwargs)) if isinstance(t, torch.Tensor)}
        for tensor in tree_iter(out):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage().data_ptr() not in given:
                self.made.add(tensor.untyped_storage().data_ptr())
        self.tape.append((func, args, kwargs, out))

    def replay(self) -> None:
        """Run it, as one launch."""
        Pretended.mode.calls["aten.graph"] += 1
        with torch._C._DisableTorchDispatch(), torch.no_grad():
            for func, args, kwargs, out in self.tape:
                for new, old in zip(tree_iter(func(*args, **kwargs)), tree_iter(out), strict=True):
                    if isinstance(new, torch.Tensor) and new.data_ptr() != old.data_ptr():
                        old.copy_(new)

    @property
    def nodes(self) -> int:
        """Launches that a replay saves the processor."""
        return sum(str(func).split(".")[1] not in FREE for func, *_ in self.tape)


@contextlib.contextmanager
def recording(graph: Graph) -> Iterator[None]:
    """`torch.cuda.graph`: what is done inside is recorded, and must wait for nothing."""
    mode = Pretended.mode
    mode.graph = graph
    mode.graphs.append(graph)
    try:
        yield
    finally:
        mode.graph = None
        for whole, content in graph.before.values():
            whole.copy_(content)


KERNELS = {
    "attention": ("_forward", "_backward"),
    "elementwise": ("_silu", "_silu_back", "_adamw"),
    "losses": ("_softmax", "_stablemax", "_sparsemax"),
    "newton_schulz": ("_kernel",),
    "norms": ("_forward", "_backward"),
    "random": ("_words", "_kept"),
    "sums": ("_sums",),
}


class Launched:
    """A Triton kernel: one launch. In Triton's interpreter it computes; elsewhere it leaves its outputs unwritten."""

    def __init__(self, mode: PretendedCuda, name: str, kernel: Any) -> None:
        self._mode, self._name, self._kernel = mode, name, kernel

    def __getitem__(self, grid: Any) -> Any:
        def launch(*args: Any, **settings: Any) -> None:
            others = [a for a in args if isinstance(a, torch.Tensor) and not isinstance(a, Pretended)]
            if others:
                raise RuntimeError(f"{self._name}: a pointer to the processor's memory")
            self._mode.calls[f"triton.{self._name}"] += 1
            self._mode.kernel(self._name, [a for a in args if isinstance(a, torch.Tensor)])
            if os.environ.get("TRITON_INTERPRET") == "1":
                with torch._C._DisableTorchDispatch():
                    self._kernel[grid](*map(_inner, args), **settings)

        return launch


class PretendedCuda(TorchDispatchMode):
    """While it is entered, torch says that there is one GPU, and tensors are made there where that is asked for.

    kernels: Triton's are launched, too. They cannot be recorded in a graph here.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, and torch's way of skipping that costs as much as all the rest."""
        return False

    def __init__(self, *, kernels: bool = False) -> None:
        super().__init__()
        self.kernels = kernels
        self.calls: Counter[str] = Counter()
        self.waits = 0
        self.excused = False
        self.graph: Graph | None = None  # that is being recorded
        self.graphs: list[Graph] = []

    def __enter__(self) -> PretendedCuda:
        if not hasattr(torch._C, "_ensureCUDADeviceGuardSet"):
            pytest.skip(f"torch {torch.__version__} asks for a driver even where a GPU is pretended")
        torch._C._ensureCUDADeviceGuardSet()
        properties = SimpleNamespace(name=NAME, total_memory=8 << 30, uuid="0", L2_cache_size=1 << 10)
        says = {
            "_lazy_init": lambda: None,
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "get_device_name": lambda *device: NAME,
            "get_device_properties": lambda *device: properties,
            "get_rng_state": lambda device: torch.zeros(16, dtype=torch.uint8),
            "set_rng_state": lambda state, device: None,
            "synchronize": self._synchronize,
            "Event": Event,
            "Stream": Stream,
            "stream": contextlib.nullcontext,
            "current_stream": lambda *device: Stream(),
            "CUDAGraph": Graph,
            "graph": recording,
            "mem_get_info": lambda *device: (4 << 30, 8 << 30),
            "empty_cache": lambda: None,
        }
        self._patches: list[Any] = [mock.patch.object(torch.cuda, name, value) for name, value in says.items()]
        # Kernels and compiled steps need a driver.
        self._patches.append(mock.patch.object(choice, "_installed", return_value=self.kernels))
        if self.kernels:
            self._patches += self._launched()
        self._patches.append(mock.patch.object(sizing, "compiler", return_value=None))
        self._patches.append(mock.patch.object(torch.backends.cudnn, "is_acceptable", return_value=False))
        self._patches += patches()
        self._patches.append(mock.patch.object(vmapped, "vmap", lambda one, **how: excused(vmap(one, **how))))
        kinds._tried.cache_clear()  # what it found on the processor, or on a real GPU
        for patch in self._patches:
            patch.start()
        Pretended.mode = self
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for patch in self._patches:
            patch.stop()
        kinds._tried.cache_clear()

    def _launched(self) -> list[Any]:
        """Patches that take Triton's kernels to the processor."""
        found = []
        for module, names in KERNELS.items():
            home = importlib.import_module(f"grokbench.numerics.kernels.{module}")
            found += [mock.patch.object(home, name, Launched(self, name, getattr(home, name))) for name in names]
        return found

    def _synchronize(self, *device: Any) -> None:
        self.wait()

    def kernel(self, name: str, tensors: list[torch.Tensor]) -> None:
        """One of Triton's was launched on these tensors."""

    def wait(self) -> None:
        """The processor waits for the GPU. Raises `RuntimeError` within a recording, as CUDA does."""
        if self.graph:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.waits += 1

    @property
    def launches(self) -> int:
        """Operations on the pretended GPU that were more than views."""
        return sum(count for name, count in self.calls.items() if name.split(".")[1] not in FREE)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.run(func, args, kwargs or {})

    def run(self, func: Any, args: Any, kwargs: Any) -> Any:
        """What an operation gives; raises `RuntimeError` where it mixes devices."""
        tensors = [*_tensors(args), *_tensors(kwargs.values())]
        ours = [t for t in tensors if isinstance(t, Pretended)]
        if not ours and not on_cuda(kwargs.get("device")):  # most of what prepares a run
            return func(*args, **kwargs)
        others = [t for t in tensors if not isinstance(t, Pretended) and t.dim()]  # numbers may come from anywhere
        indexing = func in INDEXING and isinstance(args[0], Pretended)
        if ours and others and func not in MOVES and not indexing and not self.excused:
            raise RuntimeError(f"{func}: tensors on cuda:0 and on cpu {[tuple(t.shape) for t in others]}")
        to_cuda = isinstance(args[0], Pretended) if func is aten.copy_.default else bool(ours)
        if kwargs.get("device") is not None:
            to_cuda = on_cuda(kwargs["device"])
            kwargs = {**kwargs, "device": torch.device("cpu")}
        if to_cuda:
            self.calls[str(func)] += 1
        known = {id(t.inner): t for t in ours}
        given, named = _mapped(_inner, args), {name: _mapped(_inner, value) for name, value in kwargs.items()}
        if func is aten._local_scalar_dense.default and ours:
            self.wait()
        if self.graph and to_cuda:
            if others or (func in MOVES and not ours):
                raise RuntimeError(f"{func}: a copy from the processor is not permitted when stream is capturing")
            self.graph.note(func, given, named)
        out = func(*given, **named)
        if self.graph and to_cuda:
            self.graph.add(func, given, named, out)

        def wrap(result: Any) -> Any:
            if not to_cuda or not isinstance(result, torch.Tensor):
                return result
            same = known.get(id(result))
            return Pretended(result) if same is None else same

        return _mapped(wrap, out)


def _tensors(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """The tensors among an operation's arguments; torch's own function for that takes ten times as long."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)(_mapped(change, one) for one in value)
    return change(value)


def _inner(value: Any) -> Any:
    return value.inner if isinstance(value, Pretended) else value
