"""The softmaxes by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from grokbench.softmaxes.softmax import softmax, softmax_loss
from grokbench.softmaxes.sparsemax import sparsemax, sparsemax_loss
from grokbench.softmaxes.stablemax import stablemax, stablemax_loss


class Softmax(NamedTuple):
    probabilities: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor], Tensor]


SOFTMAX: dict[str, Softmax] = {
    "softmax": Softmax(softmax, softmax_loss),
    "stablemax": Softmax(stablemax, stablemax_loss),
    "sparsemax": Softmax(sparsemax, sparsemax_loss),
}
