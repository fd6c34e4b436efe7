"""Models that tests plug in by name, as `modules:Attribute`; some of them misbehave."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from grokbench.spec import ModelSpec
from grokbench.verify.plain import Transformer


def reference(vocabulary: int, classes: int, positions: int, **sizes: Any) -> nn.Module:
    """A plain module that is the built-in transformer, with the same names."""
    model = Transformer(ModelSpec(**sizes), vocabulary, classes)
    model.grokbench_stacked = True
    model.grokbench_hidden = [n for n, p in model.named_parameters() if n.startswith("layers") and p.ndim == 2]
    return model


class Plain(nn.Module):
    """Sides that fill no cache line, dropout, and buffers that remember what was seen."""

    grokbench_stacked = True

    def __init__(self, vocabulary: int, classes: int, positions: int, *, width: int = 13, dropout: float = 0.2) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.middle = nn.Linear(positions * width, width + 2)
        self.norm = nn.BatchNorm1d(width + 2)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width + 2, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.head(self.drop(self.norm(self.middle(self.embedding(tokens).flatten(1)).tanh())))
        return scores


class Lstm(nn.Module):
    grokbench_stacked = True

    def __init__(self, vocabulary: int, classes: int, positions: int, *, width: int = 16) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.head(self.lstm(self.embedding(tokens))[0][:, -1])
        return scores


class Tied(Plain):
    """Its last layer is its embedding, once more."""

    def __init__(self, vocabulary: int, classes: int, positions: int) -> None:
        super().__init__(vocabulary, classes, positions)
        self.head = nn.Linear(13, vocabulary, bias=False)
        self.head.weight = self.embedding.weight
        self.middle, self.norm = nn.Linear(positions * 13, 13), nn.BatchNorm1d(13)
        self.classes = classes

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens)[:, : self.classes]


class Linear(nn.Module):
    """Has no hidden matrix."""

    grokbench_stacked = True

    def __init__(self, vocabulary: int, classes: int, positions: int) -> None:
        super().__init__()
        self.head = nn.Embedding(vocabulary, classes)

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.head(tokens).sum(1)
        return scores


class Declares(Plain):
    def __init__(self, *sizes: int, hidden: Any = ("head.weight",)) -> None:
        super().__init__(*sizes)
        self.grokbench_hidden = hidden


class PerToken(Linear):
    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.head(tokens)
        return scores


class Fails(Linear):
    """In its third step, or at once if it is not finite."""

    def __init__(self, *sizes: int, after: int = 3, words: str = "no luck today") -> None:
        super().__init__(*sizes)
        self.left, self.words = after, words

    def forward(self, tokens: Tensor) -> Tensor:
        if self.training:
            self.left -= 1
        if not self.left or not self.head.weight.isfinite().all():
            raise RuntimeError(self.words)
        return super().forward(tokens)


class Frozen(Linear):
    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.requires_grad_(False)


class Sets(Linear):
    def forward(self, tokens: Tensor) -> Tensor:
        torch.set_default_dtype(torch.float64)
        return super().forward(tokens)


def nothing(vocabulary: int, classes: int, positions: int) -> None:
    return None


class Coupled(Linear):
    """Its scores of a question depend on those beside it, also when it is evaluated."""

    def forward(self, tokens: Tensor) -> Tensor:
        scores = super().forward(tokens)
        return scores - scores.mean(0)


class Counts(Linear):
    """Its scores depend on how often it was called."""

    calls = 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(tokens) / self.calls


class Lucky(Linear):
    """Each has a number of its own."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.luck = float(torch.rand(()))

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) * self.luck


class Kept(Linear):
    """A tensor of its own that is neither parameter nor buffer."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.scale = torch.rand(sizes[1])

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) * self.scale


class Projected(Linear):
    """A random buffer and a frozen parameter: constants, which each replica has its own of."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.register_buffer("scale", torch.rand(sizes[1]))
        self.shift = nn.Parameter(torch.rand(sizes[1]), requires_grad=False)

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) * self.scale + self.shift


class Undeclared(Linear):
    grokbench_stacked = False


class Chance(Linear):
    """One replica in eight is another function."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.odd = int(torch.randint(8, ())) == 0

    def forward(self, tokens: Tensor) -> Tensor:
        scores = super().forward(tokens)
        return scores.square() if self.odd else scores


class Modulo(Linear):
    """Its constant may not be zero."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.register_buffer("p", torch.tensor(sizes[1]))

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.head(tokens.sum(1) % self.p)
        return scores


class Peak(Linear):
    """A buffer that is another tensor after each step."""

    peak: Tensor

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.register_buffer("peak", torch.tensor(1e3))

    def forward(self, tokens: Tensor) -> Tensor:
        scores = super().forward(tokens)
        self.peak = torch.maximum(self.peak, scores.detach().abs().amax())
        return scores * 1e3 / self.peak


class Indexed(Linear):
    """Weights that are no numbers are no index."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        self.table = nn.Parameter(torch.rand(8, sizes[1]))

    def forward(self, tokens: Tensor) -> Tensor:
        row = self.head.weight[0, 0].detach().clamp(0, 7).long()
        return super().forward(tokens) + self.table[row]


class Sigmoid(Linear):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens).sigmoid()


class Scaled(Linear):
    """By a power of one number: all slots' numbers are one vector, which a processor computes as such if it is long."""

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) * self.head.weight.square().mean() ** 0.3
