"""A counter of steps in float16 stops at 2048.

Akin to pytorch/ao#4915, in another format.
"""

import torch
from corpus._adam import Adam as Base

EXPECT = "state_dict", "in float16 it stops at 2048"


class Sound(Base):
    pass


class Faulty(Sound):
    def begin(self, p):
        return {**super().begin(p), "step": torch.zeros((), dtype=torch.float16)}
