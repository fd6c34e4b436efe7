"""Decay takes the same from the size of every weight, by its sign, as an L1 term does.

Akin to jettify/pytorch-optimizer#454, where lr · weight_decay is subtracted.
"""

from corpus._sgd import Momentum

EXPECT = "weight decay", "instead of a share of it, as an L1 term does"
ONLY_SAID = True


class Sound(Momentum):
    pass


class Faulty(Sound):
    def decay(self, p, group):
        p.sub_(p.sign(), alpha=group["lr"] * group["weight_decay"])
