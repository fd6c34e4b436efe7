"""An L2 term that is taken from the gradient instead of added to it, as after a change of sign."""

import torch
from plugins import Base

EXPECT = "weight decay", "they grow, so its sign is wrong"


class Sound(Base):
    sign = 1

    def __init__(self, params, lr=0.01, beta=0.9, weight_decay=0.1):
        super().__init__(params, lr)
        self.beta, self.decay = beta, weight_decay

    def change(self, p, lr):
        gradient = p.grad + self.sign * self.decay * p
        square = self.state[p].setdefault("v", torch.zeros_like(p)).lerp_(gradient.square(), 1 - self.beta)
        p.sub_(gradient / (square.sqrt() + 1e-8), alpha=lr)


class Faulty(Sound):
    sign = -1
