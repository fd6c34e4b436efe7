"""SGD with momentum in pieces, so that a fault is one line of one of them."""

import torch


class Momentum(torch.optim.Optimizer):
    def __init__(self, params, lr=0.05, momentum=0.9, weight_decay=0.1):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def begin(self, p):
        return {"v": torch.zeros_like(p)}

    def decay(self, p, group):
        p.mul_(1 - group["lr"] * group["weight_decay"])

    def direction(self, p, own, group):
        return own["v"].mul_(group["momentum"]).add_(p.grad)

    def rate(self, group):
        return group["lr"]

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                own = self.state[p]
                if not own:
                    own.update(self.begin(p))
                self.decay(p, group)
                p.sub_(self.direction(p, own, group), alpha=self.rate(group))
