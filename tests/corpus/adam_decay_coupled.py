"""An AdamW whose decay is an L2 term of the gradient.

As in keras-team/keras#19051 and flagos-ai/FlagGems#4988.
"""

from corpus._adam import Adam as Base

ONLY_SAID = True
EXPECT = "weight decay", "coupled: added to the gradient"


class Sound(Base):
    pass


class Faulty(Sound):
    def before(self, p, grad, group):
        return grad + group["weight_decay"] * p
