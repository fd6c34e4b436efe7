"""Signs of an average that begins anew in every step, so its share, here named a rate, does nothing.

kozistr/pytorch_optimizer#516. A value of 90 would turn the signs, and hide it.
"""

import torch
from corpus._sgd import Momentum

EXPECT = "no dead knobs", "changes nothing: decay_rate"


class Sound(Momentum):
    def __init__(self, params, lr=0.01, decay_rate=0.9, weight_decay=0.1):
        torch.optim.Optimizer.__init__(self, params, {"lr": lr, "decay_rate": decay_rate, "weight_decay": weight_decay})

    def average(self, own):
        return own["v"]

    def direction(self, p, own, group):
        return self.average(own).lerp_(p.grad, 1 - group["decay_rate"]).sign()


class Faulty(Sound):
    def average(self, own):
        return torch.zeros_like(own["v"])
