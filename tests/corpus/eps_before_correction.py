"""ε is added before the second moment is corrected.

As in karpathy/nanochat#304.
"""

from corpus._adam import Adam as Base

ONLY_SAID = True
EXPECT = "rule", "ε is added before the second moment is corrected"


class Sound(Base):
    pass


class Faulty(Sound):
    def ratio(self, own, t, group):
        one, two = self.corrections(t, group)
        return own["m"] * two**0.5 / one / (own["v"].sqrt() + group["eps"])
