"""A parameter that is not contiguous is stepped in a copy.

As in bitsandbytes-foundation/bitsandbytes#1187 and pytorch/pytorch#118117.
"""

from plugins import Base

EXPECT = "parameters", "that is not contiguous does not move"


class Sound(Base):
    def flat(self, x):
        return x

    def change(self, p, lr):
        self.flat(p).sub_(self.flat(p.grad) * lr)


class Faulty(Sound):
    def flat(self, x):
        return x.contiguous().view(-1)
