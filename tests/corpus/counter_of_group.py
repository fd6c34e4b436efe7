"""One counter of steps for a group: what had no gradient for a while is corrected as if it had.

deepspeedai/DeepSpeed#8471, where the counter of one parameter serves all.
"""

from corpus._adam import Adam

EXPECT = "gradients missing", "its later steps are others"
ONLY_SAID = True


class Sound(Adam):
    pass


class Faulty(Adam):
    def step(self, closure=None):
        for group in self.param_groups:
            group["t"] = group.get("t", 0) + 1
        super().step(closure)

    def count(self, own):
        return float(self.param_groups[0]["t"])
