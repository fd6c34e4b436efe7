"""A step seeds torch's global generator, so that dropout is the same in every step.

Akin to huggingface/diffusers#175, where evaluation did it and training drew the same noise again.
"""

import torch
from corpus._sgd import Momentum as Base

EXPECT = "generators", "in a step it seeds torch anew"


class Sound(Base):
    def direction(self, p, own, group):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return super().direction(p, own, group) + 1e-3 * torch.randn(p.shape)


class Faulty(Base):
    def direction(self, p, own, group):
        torch.manual_seed(0)
        return super().direction(p, own, group) + 1e-3 * torch.randn(p.shape)
