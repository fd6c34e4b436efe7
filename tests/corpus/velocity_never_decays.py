"""Momentum is on the gradient, and the velocity never decays.

As in ooples/AiDotNet#2008.
"""

from corpus._sgd import Momentum as Base

ONLY_SAID = True
EXPECT = "rule", "the velocity never decays"


class Sound(Base):
    pass


class Faulty(Sound):
    def direction(self, p, own, group):
        return own["v"].add_(p.grad, alpha=group["momentum"])
