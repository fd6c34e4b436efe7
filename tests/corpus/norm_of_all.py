"""Every step is divided by the norm of all gradients, so parameters are coupled: it is said.

As in huggingface/transformers#614 and NVIDIA/apex#819.
"""

import torch
from corpus._sgd import Momentum as Base

ONLY_SAID = True
EXPECT = "coupling", "change with the gradients of the others"


class Sound(Base):
    pass


class Faulty(Sound):
    def rate(self, group):
        grads = [p.grad.norm() for p in group["params"] if p.grad is not None]
        return group["lr"] / (1 + float(torch.stack(grads).norm()))
