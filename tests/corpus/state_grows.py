"""A history of gradients that is never cut.

Akin to pytorch/pytorch#144154, memory that grows with the steps.
"""

from corpus._sgd import Momentum as Base

ONLY_SAID = True
EXPECT = "state_dict", "its state grows with the steps"


class Sound(Base):
    most = 3

    def begin(self, p):
        return {**super().begin(p), "history": []}

    def direction(self, p, own, group):
        own["history"] = [*own["history"], p.grad.clone()][-self.most :]
        return sum(own["history"][-3:]) * group["momentum"] / 3


class Faulty(Sound):
    most = 10**9
