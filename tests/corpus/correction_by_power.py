"""M-SVAG's averages are divided by βᵗ in place of 1 − βᵗ: after some hundred steps nothing is finite.

As in kozistr/pytorch_optimizer#525.
"""

import torch
from corpus._sgd import Momentum

EXPECT = "size", "not finite from step"


class Sound(Momentum):
    """Balles & Hennig 2018, arXiv 1705.07774."""

    def begin(self, p):
        return {"t": 0, "m": torch.zeros_like(p), "v": torch.zeros_like(p)}

    def correction(self, power):
        return 1 - power

    def direction(self, p, own, group):
        own["t"] += 1
        beta, power = group["momentum"], group["momentum"] ** own["t"]
        m, v = own["m"].lerp_(p.grad, 1 - beta), own["v"].lerp_(p.grad.square(), 1 - beta)
        m, v = m / self.correction(power), v / self.correction(power)
        rho = (1 - beta) ** 2 * (1 - power**2) / ((1 - power) ** 2 * (1 - beta**2))
        variance = (v - m.square()).clamp(min=0) / max(1 - rho, 1e-4)
        return m * (m.square() / (m.square() + rho * variance + 1e-30))


class Faulty(Sound):
    def correction(self, power):
        return power
