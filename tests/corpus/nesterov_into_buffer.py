"""Nesterov's look-ahead is written into the velocity itself.

As in google-research/google-research#1711.
"""

from corpus._sgd import Momentum as Base

ONLY_SAID = True
EXPECT = "size", "at steps 1, 10, 100, 1000: 0.0105, 0.0485, 0.0552"


class Sound(Base):
    def ahead(self, p, v, momentum):
        return p.grad + momentum * v

    def direction(self, p, own, group):
        v = own["v"].mul_(group["momentum"]).add_(p.grad)
        return self.ahead(p, v, group["momentum"])


class Faulty(Sound):
    def ahead(self, p, v, momentum):
        return v.mul_(momentum).add_(p.grad)
