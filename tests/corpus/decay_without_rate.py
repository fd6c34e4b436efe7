"""Each step takes weight_decay of the weights, whatever the rate is.

As in FluxML/Optimisers.jl#182 and tensorflow/addons#2282.
"""

from corpus._adam import Adam as Base

ONLY_SAID = True
EXPECT = "rule", "decay takes weight_decay of the weights"


class Sound(Base):
    pass


class Faulty(Sound):
    def before(self, p, grad, group):
        p.mul_(1 - group["weight_decay"])
        return grad
