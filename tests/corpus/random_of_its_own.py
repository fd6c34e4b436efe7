"""It draws from a generator of its own that nobody seeds.

Akin to pytorch/pytorch#35047, a resumed run that is not the one before.
"""

import numpy as np
from corpus._sgd import Momentum as Base

EXPECT = "deterministic", "a numpy.random._generator.Generator of its own (drawn)"


class Sound(Base):
    pass


class Faulty(Sound):
    drawn = np.random.default_rng()

    def __init__(self, *arguments, **settings):
        super().__init__(*arguments, **settings)
        self.drawn = np.random.default_rng()

    def direction(self, p, own, group):
        return super().direction(p, own, group) * (1 + 0.1 * self.drawn.random())
