"""The 1 − of the bias correction is applied twice.

As in kozistr/pytorch_optimizer#308.
"""

from corpus._adam import Adam as Base

ONLY_SAID = True
EXPECT = "rule", "1 − is applied twice"


class Sound(Base):
    pass


class Faulty(Sound):
    def corrections(self, t, group):
        return tuple(1 - c for c in super().corrections(t, group))
