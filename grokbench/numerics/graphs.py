"""CUDA graphs: an action on fixed tensors, recorded once and then launched as one.

A launch costs the processor about as long as a small kernel takes, and a step of a small model is some hundred
launches; a graph of a whole epoch is one. It runs the kernels that the action would launch, so it changes no number.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from grokbench.spec import machine_failed


class Recorded:
    """Calls an action that reads and writes the same tensors each time and gives a tensor, and waits for nothing.

    The first call runs it as it is, on a stream of its own, so that libraries and compilers make ready; the second one
    records. What cannot be recorded is run as it is, with a warning.
    """

    def __init__(self, action: Callable[[], Tensor]) -> None:
        self._action = action
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result: Tensor | None = None
        self._calls = 0
        self._refused = False

    def __call__(self) -> Tensor:
        self._calls += 1
        if self._calls == 1:
            return self._aside()
        if self._graph is None and not self._refused:
            self._record()
        if self._graph is None or self._result is None:
            return self._action()
        self._graph.replay()
        return self._result.clone()  # the next call writes over it

    def _aside(self) -> Tensor:
        present = torch.cuda.current_stream()
        own = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        own.wait_stream(present)
        with torch.cuda.stream(own):
            result = self._action()
        present.wait_stream(own)
        result.record_stream(present)
        return result

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._result = self._action()
        except RuntimeError as error:
            if machine_failed(error):
                raise
            self._refused = True
            warnings.warn(
                f"an epoch cannot be recorded as a CUDA graph, and is launched step by step: {error}", stacklevel=3
            )
        else:
            self._graph = graph
