"""A switch nesterov that nothing reads.

Akin to apache/mxnet#15543, a switch for Nesterov that does something else.
"""

from corpus._sgd import Momentum as Base

EXPECT = "no dead knobs", "changes nothing: nesterov"


class Sound(Base):
    def __init__(self, params, lr=0.05, momentum=0.9, weight_decay=0.1, nesterov=False):
        super().__init__(params, lr, momentum, weight_decay)
        self.nesterov = nesterov

    def ahead(self, p, v, group):
        return p.grad + group["momentum"] * v if self.nesterov else v

    def direction(self, p, own, group):
        return self.ahead(p, own["v"].mul_(group["momentum"]).add_(p.grad), group)


class Faulty(Sound):
    def ahead(self, p, v, group):
        return v
