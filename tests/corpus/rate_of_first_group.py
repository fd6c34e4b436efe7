"""Step sizes are cached by the number of the step, so every group has those of the first.

As in LiyuanLucasLiu/RAdam#24 and jettify/pytorch-optimizer#96.
"""

from corpus._sgd import Momentum as Base

EXPECT = "groups", "it is stepped by another's rate"


class Sound(Base):
    pass


class Faulty(Sound):
    def rate(self, group):
        return self.param_groups[0]["lr"]
