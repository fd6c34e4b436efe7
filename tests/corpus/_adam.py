"""AdamW in pieces, so that a fault is one line of one of them."""

import torch


class Adam(torch.optim.Optimizer):
    def __init__(self, params, lr=0.01, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.1):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def begin(self, p):
        return {"step": torch.zeros((), dtype=torch.float32), "m": torch.zeros_like(p), "v": torch.zeros_like(p)}

    def count(self, own):
        own["step"] += 1
        return float(own["step"])

    def before(self, p, grad, group):
        p.mul_(1 - group["lr"] * group["weight_decay"])
        return grad

    def after(self, p, group):
        pass

    def corrections(self, t, group):
        one, two = group["betas"]
        return 1 - one**t, 1 - two**t

    def ratio(self, own, t, group):
        one, two = self.corrections(t, group)
        return own["m"] / one / ((own["v"] / two).sqrt() + group["eps"])

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                own = self.state[p]
                if not own:
                    own.update(self.begin(p))
                t = self.count(own)
                grad = self.before(p, p.grad, group)
                own["m"].lerp_(grad, 1 - group["betas"][0])
                own["v"].lerp_(grad.square(), 1 - group["betas"][1])
                p.sub_(self.ratio(own, t, group), alpha=group["lr"])
                self.after(p, group)
