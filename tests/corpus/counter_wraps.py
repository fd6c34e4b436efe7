"""A counter of steps in one byte begins at 0 again after 255, and the bias correction divides by 0.

Akin to deepspeedai/DeepSpeed#8496, a counter in a format that cannot count on.
"""

import torch
from corpus._adam import Adam

EXPECT = "state_dict", "not finite after 256 steps"


class Sound(Adam):
    pass


class Faulty(Adam):
    def begin(self, p):
        return {**super().begin(p), "step": torch.zeros((), dtype=torch.uint8)}
