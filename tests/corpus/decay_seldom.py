"""Decay acts in every twelfth step alone.

Akin to huggingface/pytorch-image-models#2750, where decay acted more than once in a step.
"""

from corpus._sgd import Momentum as Base

ONLY_SAID = True
EXPECT = "weight decay", "every 12th step"


class Sound(Base):
    pass


class Faulty(Sound):
    def decay(self, p, group):
        own = self.state[p]
        own["seen"] = own.get("seen", 0) + 1
        if own["seen"] % 12 == 0:
            super().decay(p, group)
