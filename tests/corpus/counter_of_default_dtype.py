"""A counter of steps takes the default dtype: where that is bfloat16, it stops at 256.

As in pytorch/ao#4915.
"""

import torch
from corpus._adam import Adam as Base

EXPECT = (
    "formats",
    "with bfloat16 as the default dtype, its counter step is 16 after 16 steps: in bfloat16 it stops at 256",
)
ONLY_SAID = True


class Sound(Base):
    pass


class Faulty(Sound):
    def begin(self, p):
        return {**super().begin(p), "step": torch.zeros(())}
