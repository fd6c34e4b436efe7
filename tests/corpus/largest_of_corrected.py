"""AMSGrad takes the maximum of corrected second moments.

As in pytorch/pytorch#142323 and google-deepmind/optax#1389.
"""

import torch
from corpus._adam import Adam as Base

ONLY_SAID = True
EXPECT = "rule", "the maximum is taken of corrected second moments"


class Sound(Base):
    def begin(self, p):
        return {**super().begin(p), "most": torch.zeros_like(p)}

    def second(self, own, two):
        own["most"] = torch.maximum(own["most"], own["v"])
        return own["most"] / two

    def ratio(self, own, t, group):
        one, two = self.corrections(t, group)
        return own["m"] / one / (self.second(own, two).sqrt() + group["eps"])


class Faulty(Sound):
    def second(self, own, two):
        own["most"] = torch.maximum(own["most"], own["v"] / two)
        return own["most"]
