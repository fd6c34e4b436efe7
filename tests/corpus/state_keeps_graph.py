"""The velocity is made with gradients on, and keeps the graph of all steps.

As in facebookresearch/higher#10 and pytorch/pytorch#20275.
"""

import torch
from plugins import Base

EXPECT = "state_dict", "it requires a gradient"


class Sound(Base):
    def keep(self, own, v, p):
        own["v"] = v

    def change(self, p, lr):
        own = self.state[p]
        self.keep(own, 0.9 * own.get("v", torch.zeros_like(p)).detach() + p.grad, p)
        p.sub_(own["v"].detach(), alpha=lr)


class Faulty(Sound):
    def keep(self, own, v, p):
        with torch.enable_grad():
            own["v"] = v + 0.0 * p.sum()
