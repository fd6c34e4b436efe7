"""All gradients are clipped by their common norm inside the step, in place.

As in NVIDIA/apex#819 and pytorch/pytorch#56843.
"""

import torch
from corpus._sgd import Momentum as Base

EXPECT = "gradients untouched", "writes into the gradient"


class Sound(Base):
    pass


class Faulty(Sound):
    def step(self, closure=None):
        torch.nn.utils.clip_grad_norm_([p for g in self.param_groups for p in g["params"]], 1.0)
        super().step()
