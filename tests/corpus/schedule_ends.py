"""The rate falls to nothing over 310 steps, and after 300 it is the first one again.

sooftware/kospeech#129, where a schedule is dropped once its steps are over.
"""

from corpus._sgd import Momentum

EXPECT = "size", "they jump, by 31 in step 301"
ONLY_SAID = True


class Sound(Momentum):
    last = 1e9

    def begin(self, p):
        return {**super().begin(p), "t": 0}

    def direction(self, p, own, group):
        own["t"] += 1
        share = 1 - min(own["t"], 300) / 310 if own["t"] <= self.last else 1.0
        return super().direction(p, own, group) * share


class Faulty(Sound):
    last = 300
