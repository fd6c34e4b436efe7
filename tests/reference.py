"""The slow, obvious version of what the ensemble does: one replica, an `nn.Module`, plain optimizers and losses.

Shapes: B rows, T tokens, H heads, D width.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from entmax import SparsemaxLoss
from torch import Tensor, nn

from grokbench.engine.data import generate, split
from grokbench.numerics import rng
from grokbench.optim.adapter import build, two_modes
from grokbench.spec import ModelSpec, RunSpec


class Attention(nn.Module):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.heads = spec.heads
        for role in ("query", "key", "value", "output"):
            self.add_module(role, nn.Linear(spec.width, spec.width, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            getattr(self, role)(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for role in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(rotary(q), rotary(k), v, is_causal=True)
        return self.output(mixed.transpose(1, 2).flatten(2))


def rotary(x: Tensor) -> Tensor:
    """Multiply pairs (i, i + K/2) of x (B, H, T, K), as complex numbers, by exp(i·position·rate)."""
    half = x.shape[-1] // 2
    rates = torch.tensor([10000 ** (-i / half) for i in range(half)], dtype=torch.float64)
    angles = torch.arange(x.shape[2], dtype=torch.float64)[:, None] * rates
    turned = torch.complex(x[..., :half].double(), x[..., half:].double()) * torch.exp(1j * angles)
    return torch.cat((turned.real, turned.imag), -1).to(x)


class FeedForward(nn.Module):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.gate = nn.Linear(spec.width, spec.feed_forward, bias=False) if spec.gated else None
        self.up = nn.Linear(spec.width, spec.feed_forward, bias=False)
        self.down = nn.Linear(spec.feed_forward, spec.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x) if self.gate else F.silu(self.up(x)))


class Layer(nn.Module):
    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.attention_norm = nn.RMSNorm(spec.width, eps=1e-6)
        self.attention = Attention(spec)
        self.feed_forward_norm = nn.RMSNorm(spec.width, eps=1e-6)
        self.feed_forward = FeedForward(spec)


class Transformer(nn.Module):
    """Parameter names are those of the stacked transformer."""

    def __init__(self, spec: ModelSpec, vocabulary: int, classes: int) -> None:
        super().__init__()
        self.spec = spec
        self.embedding = nn.Embedding(vocabulary, spec.width)
        self.layers = nn.ModuleList(Layer(spec) for _ in range(spec.depth))
        self.norm = nn.RMSNorm(spec.width, eps=1e-6)
        self.head = nn.Linear(spec.width, classes, bias=False)

    def forward(self, tokens: Tensor, key: Tensor | None = None, step: int = 0) -> Tensor:
        """Scores (B, C) of tokens (B, T); with a key, dropout by that run's masks."""
        x = self.embedding(tokens)
        for i, layer in enumerate(self.layers):
            last = i == len(self.layers) - 1
            x = x + self.dropped(layer.attention(layer.attention_norm(x)), 2 * i, key, step, last)
            x = x + self.dropped(layer.feed_forward(layer.feed_forward_norm(x)), 2 * i + 1, key, step, last)
        return self.head(self.norm(x))[:, -1]

    def dropped(self, y: Tensor, branch: int, key: Tensor | None, step: int, last: bool) -> Tensor:
        if key is None or not self.spec.dropout:
            return y
        shape = y[:, -1:].shape if last else y.shape  # only the last position's mask matters in the last layer
        keep = rng.keep_mask(key[None], torch.tensor([step]), branch, math.prod(shape), self.spec.dropout)
        return y * keep.view(shape) / (1 - self.spec.dropout)


def loss(name: str, scores: Tensor, labels: Tensor) -> Tensor:
    """Mean loss, in the most literal form."""
    if name == "softmax":
        return F.cross_entropy(scores, labels)
    if name == "sparsemax":
        return SparsemaxLoss(reduction="elementwise_mean")(scores, labels)
    s = torch.where(scores >= 0, scores + 1, 1 / (1 - scores.clamp(max=0)))
    return -(s / s.sum(1, keepdim=True)).gather(1, labels[:, None]).log().mean()


class Muon(torch.optim.Optimizer):
    """Muon matrix by matrix, in the dtype of its parameters."""

    def __init__(self, params, lr, weight_decay, momentum=0.95, nesterov=True, ns_steps=5):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.momentum, self.nesterov, self.ns_steps = momentum, nesterov, ns_steps

    @torch.no_grad()
    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("buffer", torch.zeros_like(p))
                buffer.copy_(self.momentum * buffer + (1 - self.momentum) * p.grad)
                update = self.momentum * buffer + (1 - self.momentum) * p.grad if self.nesterov else buffer
                x = update / update.norm()
                for _ in range(self.ns_steps):
                    gram = x @ x.T
                    x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ gram @ x
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * math.sqrt(max(1, p.shape[0] / p.shape[1])) * x)


def optimizers(run: RunSpec, model: nn.Module) -> list[torch.optim.Optimizer]:
    """What the run's optimizer stands for, as optimizers of a plain module."""
    o = run.optimizer
    if o.fingerprint:
        return [build(o, list(model.named_parameters()))]
    if o.name == "sgd":
        return [
            torch.optim.SGD(
                model.parameters(), o["lr"], o["momentum"], weight_decay=o["weight_decay"], nesterov=o["nesterov"]
            )
        ]
    if o.name == "adamw":
        return [torch.optim.AdamW(model.parameters(), o["lr"], o["betas"], o["eps"], o["weight_decay"])]
    hidden = [p for name, p in model.named_parameters() if name.startswith("layers") and p.ndim == 2]
    others = [p for p in model.parameters() if not any(p is h for h in hidden)]
    return [
        Muon(hidden, o["lr"], o["weight_decay"], o["momentum"], o["nesterov"], o["ns_steps"]),
        torch.optim.AdamW(others, o["adamw_lr"], o["betas"], o["eps"], o["weight_decay"]),
    ]


def train(run: RunSpec, weights: dict[str, Tensor], epochs: int) -> tuple[nn.Module, list[float]]:
    """Train one replica from these weights, batch by batch; the module to evaluate and the mean loss of each epoch."""
    key = rng.key_tensor(run.key)
    data = generate(run.task)
    rows = split(run.task, key[None])[0][0]
    model = Transformer(run.transformer, run.task.vocabulary, run.task.classes).to(getattr(torch, run.model.dtype))
    model.load_state_dict(weights)
    steppers = optimizers(run, model)
    averaging: list[Any] = [stepper for stepper in steppers if two_modes(stepper)]
    for stepper in averaging:
        stepper.train()
    batch, step, means = min(run.batch, len(rows)), 0, []
    for epoch in range(epochs):
        order = rng.permutation(key[None], rng.Stream.ORDER, torch.tensor([epoch]), len(rows))[0]
        losses = []
        for chosen in rows[order].split(batch):
            if len(chosen) < batch:
                break
            model.zero_grad()
            value = loss(run.softmax, model(data.tokens[chosen], key, step), data.labels[chosen])
            value.backward()
            for stepper in steppers:
                stepper.step()
            losses.append(value.item())
            step += 1
        means.append(sum(losses) / len(losses))
    for stepper in averaging:
        stepper.eval()
    return model, means


@torch.no_grad()
def evaluate(run: RunSpec, model: nn.Module) -> tuple[float, float, float, float]:
    """Training and validation accuracy, training and validation loss."""
    data = generate(run.task)
    chosen = split(run.task, rng.key_tensor(run.key)[None])[0][0]
    training = torch.zeros(len(data.labels), dtype=torch.bool)
    training[chosen] = True
    figures = []
    for part in (training, ~training):
        scores = model(data.tokens[part])
        right = (scores.argmax(1) == data.labels[part]).double().mean().item()
        figures.append((right, loss(run.softmax, scores, data.labels[part]).item()))
    (train_accuracy, train_loss), (validation_accuracy, validation_loss) = figures
    return train_accuracy, validation_accuracy, train_loss, validation_loss
