"""A wrapper takes param_groups when it is made; after a load of the inner state these are old dictionaries.

As in kozistr/pytorch_optimizer#237.
"""

import torch

EXPECT = "live rate", "a rate of 0 in param_groups after load_state_dict changes nothing"


class Sound(torch.optim.Optimizer):
    def __init__(self, params, lr=0.01):
        self.inner = torch.optim.SGD(params, lr=lr)
        super().__init__(self.inner.param_groups, {"lr": lr})
        self.share()

    def share(self):
        self.param_groups, self.state = self.inner.param_groups, self.inner.state

    def state_dict(self):
        return self.inner.state_dict()

    def load_state_dict(self, state):
        self.inner.load_state_dict(state)
        self.share()

    def step(self, closure=None):
        self.inner.step()


class Faulty(Sound):
    def load_state_dict(self, state):
        self.inner.load_state_dict(state)
