"""After the warm-up the rate is that of the first step again.

As in sooftware/kospeech#129, facebookresearch/ParlAI#4384 and huggingface/transformers#4940.
"""

from corpus._sgd import Momentum as Base

ONLY_SAID = True
EXPECT = "size", "they jump, by 0.00833 in step 121"


class Sound(Base):
    def share(self, t):
        return min(1, t / 120)

    def begin(self, p):
        return {**super().begin(p), "t": 0}

    def direction(self, p, own, group):
        own["t"] += 1
        return p.grad * group["momentum"] * self.share(own["t"])


class Faulty(Sound):
    def share(self, t):
        return (t if t <= 120 else 1) / 120
