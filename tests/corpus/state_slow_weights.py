"""Slow weights are kept where no state_dict finds them.

As in kozistr/pytorch_optimizer#310 and mgrankin/over9000#6.
"""

from corpus._sgd import Momentum as Base

EXPECT = "state_dict", "saved after 25 steps and loaded"


class Sound(Base):
    def kept(self, p):
        own = self.state[p]
        own.setdefault("t", 0)
        own.setdefault("slow", p.clone())
        return own

    def rate(self, group):
        return group["lr"]

    def direction(self, p, own, group):
        kept, v = self.kept(p), super().direction(p, own, group)
        kept["t"] += 1
        if kept["t"] % 6 == 0:
            p.copy_(kept["slow"].lerp_(p, 0.5))
        return v


class Faulty(Sound):
    def kept(self, p):
        return self.__dict__.setdefault("own", {}).setdefault(p, {"t": 0, "slow": p.clone()})
