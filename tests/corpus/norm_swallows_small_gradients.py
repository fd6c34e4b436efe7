"""Newton–Schulz adds 1e-7 to the norm, beside which small gradients vanish.

The constant of pytorch/pytorch#160213.
"""

from plugins import Base

MATRICES = True
EXPECT = "spectrum", "is the ε of its normalisation too large?"


class Sound(Base):
    eps = 1e-30

    def change(self, p, lr):
        x = p.grad / (p.grad.norm() + self.eps)
        for _ in range(5):  # with the coefficients of Jordan et al. 2024
            square = x @ x.mT
            x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
        p.sub_(x, alpha=lr)


class Faulty(Sound):
    eps = 1e-7
