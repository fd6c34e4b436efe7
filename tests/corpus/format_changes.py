"""A parameter in another format becomes one in float32.

Akin to zichongli5/NorMuon#10 and zichongli5/NorMuon#4, formats that do not fit.
"""

from plugins import Base

EXPECT = "formats", "a parameter in float64 is float32"


class Sound(Base):
    pass


class Faulty(Sound):
    def change(self, p, lr):
        p.data = p.float() - p.grad.float() * lr
