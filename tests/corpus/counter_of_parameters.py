"""One counter of steps, raised by every parameter.

As in flashlight/flashlight#143 and NVIDIA/DeepLearningExamples#391.
"""

from corpus._adam import Adam as Base

ONLY_SAID = True
EXPECT = "coupling", "does a counter of steps count parameters?"


class Sound(Base):
    pass


class Faulty(Sound):
    seen = 0

    def count(self, own):
        self.seen += 1
        return self.seen
