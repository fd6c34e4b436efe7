"""Decay is applied once for every format of the parameters, here always twice.

As in huggingface/pytorch-image-models#2750.
"""

from corpus._sgd import Momentum as Base

ONLY_SAID = True
EXPECT = "weight decay", "twice lr · weight_decay"


class Sound(Base):
    def decay(self, p, group):
        p.mul_(1 - group["lr"] * group["weight_decay"])


class Faulty(Sound):
    def decay(self, p, group):
        for _ in range(2):
            p.mul_(1 - group["lr"] * group["weight_decay"])
