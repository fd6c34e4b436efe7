"""The rate is kept when the optimizer is made: what a scheduler sets in param_groups has no effect.

As in NVIDIA/apex#766 and pytorch/ignite#545.
"""

from plugins import Base

EXPECT = "live rate", "a rate of 0 in param_groups changes nothing"


class Sound(Base):
    def __init__(self, params, lr=0.1):
        super().__init__(params, lr)
        self.lr = lr


class Faulty(Sound):
    def change(self, p, lr):
        super().change(p, self.lr)
