"""Decoupled decay of the wrong sign: the weights grow by it."""

import torch
from plugins import Base

EXPECT = "weight decay", "they grow, so its sign is wrong"


class Sound(Base):
    sign = -1

    def __init__(self, params, lr=0.01, momentum=0.9, weight_decay=0.1):
        super().__init__(params, lr)
        self.momentum, self.decay = momentum, weight_decay

    def change(self, p, lr):
        p.mul_(1 + self.sign * lr * self.decay)
        p.sub_(self.state[p].setdefault("m", torch.zeros_like(p)).lerp_(p.grad, 1 - self.momentum), alpha=lr)


class Faulty(Sound):
    sign = 1
