"""How an ensemble is sized on a machine: how many slots it has, and whether its step is compiled.

Both follow from a run's spec and the machine alone, since a run's bits may depend on them: a compiled step rounds
otherwise than an eager one, and cuBLAS chooses its algorithm by the number of slices of a batched product.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import shutil
from pathlib import Path
from typing import NamedTuple

import torch

from grokbench.models.module import parameters
from grokbench.models.transformer import layout, row_size
from grokbench.numerics import cache
from grokbench.spec import ModelSpec, RunSpec

FEWEST, MOST = 2, {"cpu": 16, "cuda": 64}
# Measured in one thread of an AMD EPYC: compiling costs 16 to 30 seconds and then saves 14 % of a step (9 % with
# dropout), so it pays after two to five minutes of training. At the 50 GFLOP/s of a step, eight replicas of 1e12
# floating-point operations each take that long.
# On CUDA a step is never compiled: Triton's kernels fuse it already, without half a minute of compiling, which at a
# hundred times the speed is longer than most runs take. Without Triton there is no compiler either.
COMPILE_WORK = 1e12
_L3 = Path("/sys/devices/system/cpu/cpu0/cache/index3/size")
_L3_BYTES = 16 << 20  # of processors that do not tell
_LIVE = 4  # hidden layers of activations, or as much, that a step goes through again while they are warm
_BYTES = {"float32": 4, "float64": 8}


# Packs that train at once. More slots in one ensemble would change a run's bits on CUDA, and fewer runs than slots
# would waste them; packs of the same slots, each on a stream of its own, do neither. So many make 512 slots.
AT_ONCE = {"cpu": 1, "cuda": 8}


class PackSize(NamedTuple):
    """slots: at most. fixed: always that many, the idle ones filled with zeros. bytes: that it needs, roughly."""

    slots: int
    fixed: bool
    compiled: bool
    bytes: int = 0


def pack_size(run: RunSpec, device: str) -> PackSize:
    """The size of packs for runs of this shape on 'cpu' or 'cuda'."""
    ours = run.softmax_source is None and isinstance(run.model, ModelSpec)  # foreign code may not compile
    compiled = device == "cpu" and ours and work(run) >= COMPILE_WORK and compiler(device) is not None
    each = bytes_of_a_replica(run)
    slots = max(FEWEST, min(MOST[device], room(device) // each))
    # A processor computes each slice of a batched product alike however many there are.
    return PackSize(slots, compiled or device == "cuda", compiled, slots * each)


def room(device: str) -> int:
    """Bytes for all packs that train at once: a processor's cache, half the memory of a GPU."""
    return _cache_bytes() if device == "cpu" else torch.cuda.get_device_properties(0).total_memory // 2


def work(run: RunSpec) -> float:
    """Floating-point operations of the matrix products that train one replica for its whole budget, roughly."""
    t, m = run.task, run.transformer
    batch = min(run.batch, t.train_rows)
    hidden = sum(s.size for s in layout(m, t.vocabulary, t.classes) if s.hidden)
    rows = batch * (1 + (m.depth - 1) * t.positions) / m.depth  # the last layer has one query a row
    steps = t.train_rows // batch * run.criterion.budget
    return 6.0 * hidden * rows * steps


def bytes_of_a_replica(run: RunSpec) -> int:
    """Memory that a replica's step has in use, roughly: weights, gradients, two moments and activations."""
    m, width = run.model, _BYTES[run.model.dtype]
    weights = 4 * row_size(parameters(m, run.task))
    if not isinstance(m, ModelSpec):  # whose activations nobody knows, but one module computes at a time
        return width * weights
    rows = min(run.batch, run.task.train_rows) * (run.task.positions if m.depth > 1 else 1)
    return width * (weights + _LIVE * rows * m.feed_forward)


@functools.cache
def compiler(device: str) -> str | None:
    """What torch.compile would use on 'cpu' or 'cuda', None where it is missing. An empty CXX means none.

    Nor is there one where torch is told to use no vector instructions (ATEN_CPU_CAPABILITY=default), since the C++ that
    it then writes does not compile, nor where no folder can be written to keep what is compiled.
    """
    if cache.folder() is None:
        return None
    if device == "cuda":
        return "triton" if importlib.util.find_spec("triton") else None
    if platform.machine() in ("x86_64", "AMD64") and torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        return None
    names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
    return next((name for name in names if name and shutil.which(name)), None)


def _cache_bytes() -> int:
    try:
        return int(_L3.read_text().removesuffix("K\n")) << 10
    except (OSError, ValueError):
        return _L3_BYTES
