"""A sign-momentum optimizer that makes its buffer anew in every step, so that momentum does nothing.

As in kozistr/pytorch_optimizer#516.
"""

import torch
from plugins import Base

EXPECT = "no dead knobs", "changes nothing: momentum"


class Sound(Base):
    def __init__(self, params, lr=0.01, momentum=0.9):
        super().__init__(params, lr)
        self.momentum = momentum

    def buffer(self, p):
        return self.state[p].setdefault("momentum", torch.zeros_like(p))

    def change(self, p, lr):
        p.sub_(self.buffer(p).lerp_(p.grad, 1 - self.momentum).sign(), alpha=lr)


class Faulty(Sound):
    def buffer(self, p):
        return torch.zeros_like(p)
