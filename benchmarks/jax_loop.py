"""The same training in JAX: one replica's epoch as its users would write it, vmapped over replicas, scanned and jitted.

It computes in full float32, not in TF32, only the last token's query in the last layer, and no dropout. JAX need not be
there: importing this module without it is an `ImportError`.

Shapes: E replicas, S steps, B rows, T tokens, H heads, K floats a head, D width, C classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch is on the same card

import jax
import jax.numpy as jnp
import numpy as np

from grokbench.engine.data import generate, split
from grokbench.models.module import initial
from grokbench.numerics import rng
from grokbench.spec import ModelSpec, OptimizerSpec, RunSpec

Weights = dict[str, Any]
State = tuple[Weights, Weights, Weights, Any]
"""Weights, first moments, second moments, and the steps that were made."""


def norm(x: Any, gain: Any) -> Any:
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * gain


def rotary(x: Any, positions: Any) -> Any:
    """Turn pairs (i, i + K/2) of x (B, T, H, K) by position · rate (Su et al. 2021, arXiv 2104.09864)."""
    half = x.shape[-1] // 2
    rates = 10000.0 ** (-np.arange(half) / half)
    angles = (positions[:, None] * rates)[:, None]  # (T, 1, K/2)
    cos, sin = (jnp.asarray(table, x.dtype) for table in (np.cos(angles), np.sin(angles)))
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate((a * cos - b * sin, a * sin + b * cos), -1)


def forward(spec: ModelSpec, w: Weights, tokens: Any) -> Any:
    """tokens (B, T) -> scores (B, C)."""
    x = w["embedding.weight"][tokens]
    every = np.arange(tokens.shape[1])
    for i in range(spec.depth):
        own = {n.removeprefix(f"layers.{i}."): value for n, value in w.items() if n.startswith(f"layers.{i}.")}
        asked = every[-1:] if i == spec.depth - 1 else every
        y = norm(x, own["attention_norm.weight"])

        def heads(y: Any, name: str, own: Weights = own) -> Any:
            product = y @ own[f"attention.{name}.weight"].T
            return product.reshape(*y.shape[:2], spec.heads, -1)

        q = rotary(heads(y[:, asked], "query"), asked)
        k, v = rotary(heads(y, "key"), every), heads(y, "value")
        scores = jnp.einsum("bqhk,bthk->bhqt", q, k) / np.sqrt(q.shape[-1])
        scores = jnp.where(every[None, :] <= asked[:, None], scores, -jnp.inf)
        mixed = jnp.einsum("bhqt,bthk->bqhk", jax.nn.softmax(scores, -1), v).reshape(len(x), len(asked), -1)
        x = x[:, asked] + mixed @ own["attention.output.weight"].T
        y = norm(x, own["feed_forward_norm.weight"])
        inner = y @ own["feed_forward.up.weight"].T
        inner = jax.nn.silu(y @ own["feed_forward.gate.weight"].T) * inner if spec.gated else jax.nn.silu(inner)
        x = x + inner @ own["feed_forward.down.weight"].T
    return (norm(x, w["norm.weight"]) @ w["head.weight"].T)[:, -1]


def cross_entropy(scores: Any, labels: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], 1).mean()


def adamw(o: OptimizerSpec, lr: float, w: Any, g: Any, mean: Any, square: Any, step: Any) -> tuple[Any, Any, Any]:
    beta1, beta2 = o["betas"]
    mean, square = beta1 * mean + (1 - beta1) * g, beta2 * square + (1 - beta2) * g * g
    update = (mean / (1 - beta1**step)) / (jnp.sqrt(square / (1 - beta2**step)) + o["eps"])
    return w * (1 - lr * o["weight_decay"]) - lr * update, mean, square


def muon(o: OptimizerSpec, w: Any, g: Any, momentum: Any) -> tuple[Any, Any]:
    m, (a, b, c) = o["momentum"], o["coefficients"]
    momentum = m * momentum + (1 - m) * g
    x = m * momentum + (1 - m) * g if o["nesterov"] else momentum
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    x = x / jnp.linalg.norm(x)
    for _ in range(o["ns_steps"]):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x.T if tall else x
    return w * (1 - o["lr"] * o["weight_decay"]) - o["lr"] * max(1, w.shape[0] / w.shape[1]) ** 0.5 * x, momentum


def step(run: RunSpec, state: State, batch: tuple[Any, Any]) -> tuple[State, Any]:
    """One step of one replica on tokens (B, T) and labels (B,); its loss before it."""
    weights, means, squares, count = state
    tokens, labels = batch
    o, count = run.optimizer, count + 1

    def loss(w: Weights) -> Any:
        return cross_entropy(forward(run.transformer, w, tokens), labels)

    value, slopes = jax.value_and_grad(loss)(weights)
    new: tuple[Weights, Weights, Weights] = ({}, {}, {})
    for name, w in weights.items():
        if o.name == "muon" and name.startswith("layers") and w.ndim == 2:
            new[0][name], new[1][name] = muon(o, w, slopes[name], means[name])
            new[2][name] = squares[name]
        else:
            rate = o["adamw_lr"] if o.name == "muon" else o["lr"]
            made = adamw(o, rate, w, slopes[name], means[name], squares[name], count)
            new[0][name], new[1][name], new[2][name] = made
    return (*new, count), value


def epoch(run: RunSpec, tokens: Any, labels: Any, state: State, rows: Any) -> tuple[State, Any]:
    """The steps of one replica's epoch on these rows (S, B); the mean of its losses."""
    with jax.default_matmul_precision("highest"):
        state, losses = jax.lax.scan(partial(step, run), state, (tokens[rows], labels[rows]))
    return state, losses.mean()


class Trainer:
    """Replicas 0 … E − 1 of a run under softmax, by `adamw` or `muon`, from grokbench's own initial weights.

    platform: "cpu" or "cuda"; raises `RuntimeError` where JAX has no such device.
    """

    def __init__(self, run: RunSpec, replicas: int, platform: str = "cpu") -> None:
        device = jax.devices(platform)[0]
        run = replace(run, model=replace(run.transformer, dropout=0.0))
        runs = [replace(run, replica=replica) for replica in range(replicas)]
        stacks = [initial(run.model, run.task, one.key).views for one in runs]
        data, keys = generate(run.task), [rng.key_tensor(one.key) for one in runs]
        self._train = np.stack([split(run.task, key[None])[0][0].numpy() for key in keys])
        self._batch = min(run.batch, run.task.train_rows)
        self._random = np.random.default_rng(0)
        weights = {name: np.stack([s[name][0].numpy() for s in stacks]) for name in stacks[0]}
        zeros = {name: np.zeros_like(value) for name, value in weights.items()}
        put = partial(jax.device_put, device=device, may_alias=False)  # what is donated must be there once
        count = np.zeros(replicas, next(iter(weights.values())).dtype)
        self.state: State = (put(weights), put(zeros), put(zeros), put(count))
        tokens, labels = (put(x.numpy()) for x in data)
        one: Callable[..., tuple[State, Any]] = partial(epoch, run, tokens, labels)
        self._epoch = jax.jit(jax.vmap(one), donate_argnums=0)

    def train(self, order: Any = None) -> Any:
        """One epoch in this order of each replica's training rows (E, N), or in a random one; the losses (E,)."""
        if order is None:
            order = self._random.permuted(np.broadcast_to(np.arange(self._train.shape[1]), self._train.shape), axis=1)
        steps = self._train.shape[1] // self._batch
        rows = np.take_along_axis(self._train, order, 1)[:, : steps * self._batch]
        self.state, losses = self._epoch(self.state, rows.reshape(len(rows), steps, self._batch))
        return losses.block_until_ready()
