"""A closure is called with gradients off, so that backward() in it fails.

As in HomebrewML/HeavyBall#10 and nikhilvyas/SOAP#21.
"""

import torch
from plugins import Base

ONLY_SAID = True
EXPECT = "closure", "called with gradients off"


class Sound(Base):
    def step(self, closure=None):
        loss = closure() if closure else None
        super().step()
        return loss


class Faulty(Sound):
    @torch.no_grad()
    def step(self, closure=None):
        return super().step(closure)
