"""Nesterov's look-ahead has the wrong sign.

As in PaddlePaddle/Paddle#12231.
"""

from corpus._sgd import Momentum as Base

ONLY_SAID = True
EXPECT = "rule", "the look-ahead has the wrong sign"


class Sound(Base):
    def ahead(self, p, v, momentum):
        return p.grad + momentum * v

    def direction(self, p, own, group):
        v = own["v"].mul_(group["momentum"]).add_(p.grad)
        return self.ahead(p, v, group["momentum"])


class Faulty(Sound):
    def ahead(self, p, v, momentum):
        return p.grad - momentum * v
