"""The second moment is not corrected.

Akin to pytorch/pytorch#23737, on the corrections of Adam in C++.
"""

from corpus._adam import Adam as Base

ONLY_SAID = True
EXPECT = "rule", "only the first moment is corrected"


class Sound(Base):
    pass


class Faulty(Sound):
    def corrections(self, t, group):
        return super().corrections(t, group)[0], 1.0
