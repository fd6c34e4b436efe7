"""Decay subtracts lr · weight_decay itself: every weight sinks by the same amount.

As in jettify/pytorch-optimizer#454.
"""

from corpus._sgd import Momentum as Base

EXPECT = "weight decay", "instead of a share of it"


class Sound(Base):
    pass


class Faulty(Sound):
    def decay(self, p, group):
        p.sub_(group["lr"] * group["weight_decay"])
