"""A step turns autograd's anomaly mode on, and leaves it so.

As in yenchenlin/nerf-pytorch#42, where an import did it and training took much longer.
"""

import torch
from plugins import Base

EXPECT = "runs", "changed torch's global settings at step 1: anomaly mode from False to True"


class Sound(Base):
    def change(self, p, lr):
        with torch.autograd.set_detect_anomaly(True):
            super().change(p, lr)


class Faulty(Sound):
    def change(self, p, lr):
        torch.autograd.set_detect_anomaly(True)
        super().change(p, lr)
