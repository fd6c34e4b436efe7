"""The path for many tensors at once leaves out the decay.

As in kozistr/pytorch_optimizer#519 and pytorch/pytorch#78807.
"""

from corpus._sgd import Momentum as Base

EXPECT = "paths", "with foreach=True its steps are others"


class Sound(Base):
    def __init__(self, params, lr=0.05, momentum=0.9, weight_decay=0.1, foreach=False):
        super().__init__(params, lr, momentum, weight_decay)
        self.foreach = foreach


class Faulty(Sound):
    def decay(self, p, group):
        if not self.foreach:
            super().decay(p, group)
