"""State is made in the constructor alone: a group that is added later fails.

As in pytorch/pytorch#17679 and Oneflow-Inc/oneflow#8698.
"""

import torch
from corpus._sgd import Momentum as Base

ONLY_SAID = True
EXPECT = "groups", "no second group can be had: the optimizer"


class Sound(Base):
    pass


class Faulty(Sound):
    def __init__(self, params, lr=0.05, momentum=0.9, weight_decay=0.1):
        super().__init__(params, lr, momentum, weight_decay)
        self.own = {p: torch.zeros_like(p) for g in self.param_groups for p in g["params"]}

    def direction(self, p, own, group):
        return super().direction(p, {"v": self.own[p]}, group)
