"""A closure is taken and never called.

As in lessw2020/Ranger-Deep-Learning-Optimizer#46.
"""

from plugins import Base

ONLY_SAID = True
EXPECT = "closure", "a closure is never called"


class Sound(Base):
    def step(self, closure=None):
        loss = closure() if closure else None
        super().step()
        return loss


class Faulty(Sound):
    def step(self, closure=None):
        super().step(None)
