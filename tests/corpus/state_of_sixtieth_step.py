"""What acts in every sixtieth step is counted outside of the state.

Akin to CyberZHG/keras-lookahead#2, a count of steps that is lost.
"""

from corpus._sgd import Momentum as Base

EXPECT = "state_dict", "saved after 25 steps and loaded"


class Sound(Base):
    def begin(self, p):
        return {**super().begin(p), "t": 0}

    def number(self, p, own):
        own["t"] += 1
        return own["t"]

    def direction(self, p, own, group):
        v = super().direction(p, own, group)
        return v.mul_(0.0) if self.number(p, own) % 60 == 0 else v


class Faulty(Sound):
    def begin(self, p):
        return {**super().begin(p), "t": None}

    def number(self, p, own):
        counts = self.__dict__.setdefault("counts", {})
        counts[p] = counts.get(p, 0) + 1
        return counts[p]
