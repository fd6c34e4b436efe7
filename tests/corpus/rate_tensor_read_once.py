"""A rate that is a tensor is read once: what fills it in place later, as a scheduler does, has no effect.

Akin to pytorch/ao#730, on a rate that a compiled step takes as a constant.
"""

from plugins import Base

EXPECT = "live rate", "is filled with 0, and weights still move"


class Sound(Base):
    def rate(self, lr):
        return float(lr)

    def change(self, p, lr):
        p.sub_(p.grad * self.rate(lr))


class Faulty(Sound):
    seen = number = None

    def rate(self, lr):
        if lr is not self.seen:
            self.seen, self.number = lr, float(lr)
        return self.number
