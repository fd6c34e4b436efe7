"""A rate that is a tensor is multiplied in place in every step.

Akin to pytorch/pytorch#78807, on what one path changes in place.
"""

from plugins import Base

EXPECT = "live rate", "a rate that is a tensor"


class Sound(Base):
    pass


class Faulty(Sound):
    def change(self, p, lr):
        lr *= 0.9
        p.sub_(p.grad * lr)
