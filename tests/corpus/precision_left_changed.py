"""A step sets torch's global precision, and leaves it so.

Akin to pytorch/ao#4915, where a global default decides what an optimizer does.
"""

from plugins import Base

EXPECT = "runs", "changed torch's global settings at step 1: precision"


class Sound(Base):
    def change(self, p, lr):
        super().change(p, lr)


class Faulty(Sound):
    def change(self, p, lr):
        import torch

        torch.set_float32_matmul_precision("medium")
        super().change(p, lr)
