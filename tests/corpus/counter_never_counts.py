"""The counter is raised in a copy, and stays at 1.

As in allenai/OLMo-core#317.
"""

from corpus._adam import Adam as Base

ONLY_SAID = True
EXPECT = "rule", "its counter of steps stays at 1"


class Sound(Base):
    pass


class Faulty(Sound):
    def count(self, own):
        step = own["step"] + 1
        return float(step)
