"""ε is inside the root.

As in keras-team/keras#17391 and kozistr/pytorch_optimizer#397.
"""

from corpus._adam import Adam as Base

ONLY_SAID = True
EXPECT = "rule", "ε is inside the root"


class Sound(Base):
    pass


class Faulty(Sound):
    def ratio(self, own, t, group):
        one, two = self.corrections(t, group)
        return own["m"] / one / (own["v"] / two + group["eps"]).sqrt()
