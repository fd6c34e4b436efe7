"""It draws from numpy's global generator, which no run seeds.

Akin to pytorch/pytorch#35047, a resumed run that is not the one before.
"""

import numpy as np
from corpus._sgd import Momentum as Base

EXPECT = "deterministic", "it draws from numpy.random"


class Sound(Base):
    pass


class Faulty(Sound):
    def direction(self, p, own, group):
        return super().direction(p, own, group) * (1 + 0.1 * np.random.rand())
