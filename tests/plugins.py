"""Optimizers that tests plug in by name, as `plugins:Attribute`; most of them misbehave."""

import os
import posix
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Named = list[tuple[str, nn.Parameter]]


class Base(torch.optim.Optimizer):
    """Calls `change` on every parameter that has a gradient; by itself it descends the gradient."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    with torch.no_grad():
                        self.change(p, group["lr"])

    def change(self, p: nn.Parameter, lr: float) -> None:
        p.sub_(p.grad * lr)


class FailsAfter(Base):
    """Like a schedule that is over."""

    def __init__(self, params: Any, lr: float = 0.1, steps: int = 1) -> None:
        super().__init__(params, lr)
        self.left = steps

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        if not self.left:
            raise RuntimeError("the schedule is over")
        self.left -= 1
        super().step(closure)


class Replaces(Base):
    """Puts a new tensor into the parameter instead of writing into the old one."""

    def change(self, p: nn.Parameter, lr: float) -> None:
        p.data = p.data - p.grad * lr


class WritesGradient(Base):
    def change(self, p: nn.Parameter, lr: float) -> None:
        p.sub_(p.grad.mul_(lr))


class Noisy(Base):
    """Draws from torch's global generator when it is made and at every step."""

    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, lr)
        self.factor = torch.rand(())

    def change(self, p: nn.Parameter, lr: float) -> None:
        p.add_(torch.randn(p.shape, dtype=torch.float32, device=p.device) * self.factor, alpha=lr)


class Fragile(Base):
    """Like those that decompose a matrix: raises for what is not finite."""

    def change(self, p: nn.Parameter, lr: float) -> None:
        if not p.grad.isfinite().all():
            raise ArithmeticError("did not converge")
        super().change(p, lr)


class Raises(Base):
    def change(self, p: nn.Parameter, lr: float) -> None:
        torch.rand(())
        raise RuntimeError("no luck today")


class RaisesAtOnce(Base):
    def __init__(self, params: Any, lr: float = 0.1) -> None:
        torch.rand(())
        raise KeyError("sigma")


class Exits(Base):
    def change(self, p: nn.Parameter, lr: float) -> None:
        raise SystemExit(0)


class Ends(Base):
    """Ends the process, at the last of so many steps or, with 0, when it is made."""

    def __init__(self, params: Any, lr: float = 0.1, steps: int = 1) -> None:
        super().__init__(params, lr)
        self.left = steps
        if not steps:
            os._exit(0)

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        super().step(closure)
        self.left -= 1
        if not self.left:
            os._exit(0)


class Vanishes(Base):
    """Ends the process in a way that nothing in it can notice."""

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        posix._exit(0)


class WithoutGradients(Base):
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        super().step(closure)
        torch.set_grad_enabled(False)


class Elsewhere(Base):
    def change(self, p: nn.Parameter, lr: float) -> None:
        super().change(p, lr)
        torch.set_default_device("meta")


class Reshapes(Base):
    def change(self, p: nn.Parameter, lr: float) -> None:
        p.data = p.data.flatten()


class RateLess(torch.optim.Optimizer):
    def __init__(self, params: Any) -> None:
        super().__init__(params, {})


class Impostor:
    """Has a `step`, and is still no optimizer."""

    def __init__(self, params: Any) -> None:
        pass

    def step(self) -> None:
        pass


def grouped(named: Named, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """AdamW that spares vectors the decay and moves them ten times as fast."""
    matrices = [p for _, p in named if p.ndim == 2]
    vectors = [p for _, p in named if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "lr": 10 * lr}]
    return torch.optim.AdamW(groups, lr=lr, weight_decay=0.0)


def tensor_rate(named: Named, lr: float) -> torch.optim.Optimizer:
    """SGD whose rate is a tensor, as optimizers under `torch.compile` are given."""
    return torch.optim.SGD([p for _, p in named], lr=torch.tensor(lr, dtype=torch.float64), foreach=False)
