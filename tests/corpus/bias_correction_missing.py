"""Adam whose averages start at zero and are never corrected: the first updates have another size."""

import torch
from plugins import Base

ONLY_SAID = True
EXPECT = "size", "at steps 1, 10, 100, 1000: 0.0316"


class Sound(Base):
    corrected = True

    def __init__(self, params, lr=0.01, betas=(0.9, 0.999)):
        super().__init__(params, lr)
        self.betas = betas

    def change(self, p, lr):
        own = self.state[p]
        t = own["step"] = own.get("step", 0) + 1
        m, v = (
            own.setdefault(name, torch.zeros_like(p)).lerp_(term, 1 - beta)
            for name, term, beta in zip("mv", (p.grad, p.grad.square()), self.betas, strict=True)
        )
        if self.corrected:
            m, v = m / (1 - self.betas[0] ** t), v / (1 - self.betas[1] ** t)
        p.sub_(m / (v.sqrt() + 1e-12), alpha=lr)


class Faulty(Sound):
    corrected = False
