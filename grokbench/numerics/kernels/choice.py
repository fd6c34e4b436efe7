"""When a kernel is asked: on CUDA alone, and not where Triton is missing."""

from __future__ import annotations

import functools
import importlib.util

import torch
from torch import Tensor


@functools.cache
def _installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def wanted(x: Tensor) -> bool:
    """Whether to ask the kernels if they take x; not inside torch.compile, which fuses the plain form itself."""
    return x.is_cuda and _installed() and not torch.compiler.is_compiling()
