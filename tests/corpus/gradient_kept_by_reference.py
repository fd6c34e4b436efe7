"""The last gradient is kept by reference: where gradients are filled in place, it is always the present one.

As in shivram1987/diffGrad#2 and jettify/pytorch-optimizer#55.
"""

import torch
from plugins import Base

EXPECT = "gradients refilled", "is a gradient kept without a clone?"


class Sound(Base):
    def keep(self, gradient):
        return gradient.clone()

    def change(self, p, lr):
        last = self.state[p].get("last", torch.zeros_like(p))
        p.sub_(p.grad * torch.sigmoid((last - p.grad).abs()), alpha=lr)
        self.state[p]["last"] = self.keep(p.grad)


class Faulty(Sound):
    def keep(self, gradient):
        return gradient
