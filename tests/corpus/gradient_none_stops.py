"""The first parameter without a gradient ends the step: `break` in place of `continue`.

Akin to kozistr/pytorch_optimizer#125, where nothing trains if the first parameter has no gradient.
"""

import torch
from corpus._sgd import Momentum

EXPECT = "gradients missing", "10 others do not move"


class Sound(Momentum):
    pass


class Faulty(Momentum):
    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    break
                own = self.state[p]
                if not own:
                    own.update(self.begin(p))
                self.decay(p, group)
                p.sub_(self.direction(p, own, group), alpha=self.rate(group))
