"""A counter of steps in bfloat16 stops at 256.

As in deepspeedai/DeepSpeed#8496, pytorch/pytorch#74424 and pytorch/ao#4915.
"""

import torch
from corpus._adam import Adam as Base

EXPECT = "state_dict", "in bfloat16 it stops at 256"


class Sound(Base):
    pass


class Faulty(Sound):
    def begin(self, p):
        return {**super().begin(p), "step": torch.zeros((), dtype=torch.bfloat16)}
