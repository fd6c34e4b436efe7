"""A parameter without a gradient, as a frozen or unused one has, is not skipped: the step raises."""

from plugins import Base

ONLY_SAID = True
EXPECT = "gradients missing", "is not skipped: the optimizer"


class Sound(Base):
    pass


class Faulty(Base):
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.sub_(p.grad, alpha=group["lr"])
