"""A parameter without a gradient still moves by its old momentum: None is taken as zeros."""

import torch
from plugins import Base

EXPECT = "gradients missing", "step 4 moves"


class Sound(Base):
    def change(self, p, lr):
        p.sub_(self.state[p].setdefault("m", torch.zeros_like(p)).lerp_(p.grad, 0.1), alpha=lr)


class Faulty(Sound):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        super().step(closure)
