"""The plain loop: one replica as most would write it today, from torch's own modules, loaders and optimizers.

It is what throughput is measured against; `tests/reference.py`, which correctness is measured against, follows our
random streams bit by bit, and this does not.

Shapes: B rows, T tokens, H heads, K floats a head, D width, C classes.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as functional
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from grokbench.engine.data import generate
from grokbench.spec import ModelSpec, OptimizerSpec, RunSpec


class Block(nn.Module):
    """Attention and feed-forward, each after a norm and added to what came in."""

    cos: Tensor
    sin: Tensor

    def __init__(self, spec: ModelSpec, positions: int) -> None:
        super().__init__()
        d, f = spec.width, spec.feed_forward
        self.heads = spec.heads
        self.q, self.k, self.v, self.out = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.gate = nn.Linear(d, f, bias=False) if spec.gated else None
        self.up, self.down = nn.Linear(d, f, bias=False), nn.Linear(f, d, bias=False)
        self.norm1, self.norm2 = nn.RMSNorm(d, eps=1e-6), nn.RMSNorm(d, eps=1e-6)
        self.dropout = nn.Dropout(spec.dropout)
        head = d // spec.heads
        angles = torch.outer(torch.arange(positions), 10000 ** (-torch.arange(0, head, 2) / head))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> (B, T, D)."""
        y = self.norm1(x)
        q, k, v = (linear(y).unflatten(-1, (self.heads, -1)).transpose(1, 2) for linear in (self.q, self.k, self.v))
        y = functional.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True)
        x = x + self.dropout(self.out(y.transpose(1, 2).flatten(2)))
        y = self.norm2(x)
        y = functional.silu(self.gate(y)) * self.up(y) if self.gate else functional.silu(self.up(y))
        out: Tensor = x + self.dropout(self.down(y))
        return out

    def rotate(self, x: Tensor) -> Tensor:
        """Rotary position embedding of x (B, H, T, K)."""
        a, b = x.chunk(2, -1)
        return torch.cat((a * self.cos - b * self.sin, a * self.sin + b * self.cos), -1)


class Model(nn.Module):
    def __init__(self, run: RunSpec) -> None:
        super().__init__()
        d, task = run.transformer.width, run.task
        self.embedding = nn.Embedding(task.vocabulary, d)
        self.blocks = nn.Sequential(*(Block(run.transformer, task.positions) for _ in range(run.transformer.depth)))
        self.norm = nn.RMSNorm(d, eps=1e-6)
        self.head = nn.Linear(d, task.classes, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """tokens (B, T) -> scores (B, C): every position is computed, the last is taken."""
        out: Tensor = self.head(self.norm(self.blocks(self.embedding(tokens))))[:, -1]
        return out


def loss(name: str, scores: Tensor, labels: Tensor) -> Tensor:
    """Mean loss of scores (B, C) and labels (B). Sparsemax's is entmax's."""
    if name == "softmax":
        return functional.cross_entropy(scores, labels)
    if name == "sparsemax":
        from entmax import SparsemaxLoss  # type: ignore[import-untyped]

        out: Tensor = SparsemaxLoss()(scores, labels)
        return out
    s = torch.where(scores >= 0, scores + 1, 1 / (1 - scores.clamp(max=0)))
    return functional.nll_loss((s / s.sum(-1, keepdim=True)).log(), labels)


def optimizers(
    spec: OptimizerSpec, hidden: Iterable[nn.Parameter], others: Iterable[nn.Parameter], **implementation: bool
) -> list[torch.optim.Optimizer]:
    """torch's own for a built-in optimizer; `implementation` is `foreach` or `fused`, for all but Muon."""
    if spec.name == "sgd":
        momentum, decay, nesterov = spec["momentum"], spec["weight_decay"], spec["nesterov"]
        parameters = [*hidden, *others]
        return [torch.optim.SGD(parameters, spec["lr"], momentum, 0, decay, nesterov, **implementation)]
    found: list[torch.optim.Optimizer] = []
    rest, lr = [*hidden, *others], "lr"
    if spec.name == "muon":
        rest, lr = [*others], "adamw_lr"
        found.append(
            torch.optim.Muon(
                hidden,
                spec["lr"],
                spec["weight_decay"],
                spec["momentum"],
                spec["nesterov"],
                spec["coefficients"],
                ns_steps=spec["ns_steps"],
            )
        )
    adamw = torch.optim.AdamW(rest, spec[lr], spec["betas"], spec["eps"], spec["weight_decay"], **implementation)
    return [*found, adamw]


class Plain:
    """One replica of a run."""

    def __init__(self, run: RunSpec, device: torch.device) -> None:
        self._loss, self._device = run.softmax, device
        self._model = Model(run).to(device, getattr(torch, run.transformer.dtype))
        hidden = [p for p in self._model.blocks.parameters() if p.ndim == 2]
        others = [p for p in self._model.parameters() if not any(p is h for h in hidden)]
        self._optimizers = optimizers(run.optimizer, hidden, others)
        data = generate(run.task)
        order = torch.randperm(run.task.rows)
        train, validation = order[: run.task.train_rows], order[run.task.train_rows :]
        batch = min(run.batch, len(train))
        dataset = TensorDataset(data.tokens[train], data.labels[train])
        self._loader = DataLoader(dataset, batch, shuffle=True, drop_last=True)
        self._parts = [(data.tokens[rows].to(device), data.labels[rows].to(device)) for rows in (train, validation)]

    def epoch(self) -> tuple[float, float]:
        """Train for one epoch; the accuracies on all training and all validation rows after it."""
        self._model.train()
        for tokens, labels in self._loader:
            for optimizer in self._optimizers:
                optimizer.zero_grad()
            scores = self._model(tokens.to(self._device))
            torch.autograd.backward(loss(self._loss, scores, labels.to(self._device)))
            for optimizer in self._optimizers:
                optimizer.step()
        self._model.eval()
        train, validation = (self._accuracy(*part) for part in self._parts)
        return train, validation

    @torch.no_grad()
    def _accuracy(self, tokens: Tensor, labels: Tensor) -> float:
        return float((self._model(tokens).argmax(-1) == labels).float().mean())
