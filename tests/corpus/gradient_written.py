"""The gradient becomes Nesterov's direction in place.

As in apache/mxnet#15759 and liukidar/pcx#67.
"""

from corpus._sgd import Momentum as Base

EXPECT = "gradients untouched", "step 2 writes into the gradient"


class Sound(Base):
    pass


class Faulty(Sound):
    def direction(self, p, own, group):
        v = super().direction(p, own, group)
        return p.grad.lerp_(v, group["momentum"])
