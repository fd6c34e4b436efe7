"""A multilayer perceptron on the tokens of a question, one after the other."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from grokbench.spec import choose
from grokbench.spec.errors import require, whole

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "tanh": nn.Tanh}


class MLP(nn.Module):
    """`depth` hidden layers of `width` units, on the tokens' embeddings of `width` floats or on one-hot tokens.

    Tokens (B, T) to scores (B, C). Raises `UsageError` for sizes and activations that there are not.
    """

    grokbench_stacked = True  # its forward pass is a function of its parameters and the tokens alone

    def __init__(
        self,
        vocabulary: int,
        classes: int,
        positions: int,
        *,
        width: int,
        depth: int,
        activation: str,
        embedded: bool,
    ) -> None:
        super().__init__()
        whole("width", width, 1)
        whole("depth", depth, 1)
        choose("activation", str(activation), tuple(ACTIVATIONS))
        require(isinstance(embedded, bool), f"embedded must be True or False, not {embedded!r}")
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary, width) if embedded else None
        into = positions * (width if embedded else vocabulary)
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(into, width), ACTIVATIONS[activation]()]
            into = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        if self.embedding is None:
            x = functional.one_hot(tokens, self.vocabulary).to(self.head.weight.dtype)
        else:
            x = self.embedding(tokens)
        scores: Tensor = self.head(self.layers(x.flatten(1)))
        return scores
