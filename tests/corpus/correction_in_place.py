"""Bias correction divides the kept averages in place, so it accumulates.

As in frgfm/Holocron#1.
"""

from corpus._adam import Adam as Base

ONLY_SAID = True
EXPECT = "rule", "bias correction divides the kept moments in place"


class Sound(Base):
    pass


class Faulty(Sound):
    def ratio(self, own, t, group):
        one, two = self.corrections(t, group)
        return own["m"].div_(one) / (own["v"].div_(two).sqrt() + group["eps"])
