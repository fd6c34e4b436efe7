"""Decay after the update, so that the update is decayed, too.

As in bitsandbytes-foundation/bitsandbytes#2010.
"""

from corpus._adam import Adam as Base

ONLY_SAID = True
EXPECT = "weight decay", "after its update"


class Sound(Base):
    pass


class Faulty(Sound):
    def before(self, p, grad, group):
        return grad

    def after(self, p, group):
        p.mul_(1 - group["lr"] * group["weight_decay"])
