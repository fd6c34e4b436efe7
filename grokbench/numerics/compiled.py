"""torch.compile for the two functions that a step spends its time in, with a cache that outlives the process.

Shapes are static, because a compiled ensemble always has the same slots; so nothing is compiled again after the
first step or on a refill. On CUDA the gradient is recorded as a CUDA graph.
"""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch

from grokbench.numerics import cache

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled: dict[Hashable, Any] = {}


def compiled(key: Hashable, function: _Function, device: torch.device, *, graphs: bool) -> _Function:
    """The function as compiled for this key before, or compiled by its first call. graphs: it changes no argument."""
    if key not in _compiled:
        if place := cache.folder():
            os.environ[cache.VARIABLE] = str(place)
        # torch.compile keeps what it compiled with the code object and allows it only a few variants.
        own = types.FunctionType(
            function.__code__.replace(),
            function.__globals__,
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        mode = "reduce-overhead" if graphs and device.type == "cuda" else None
        _compiled[key] = torch.compile(own, fullgraph=True, dynamic=False, mode=mode)
    found: _Function = _compiled[key]
    return found
