"""Newton–Schulz that lays a tall matrix down by its transpose, and stands it up again by a reshape.

The loss may fall all the same; the singular vectors of the updates are not the gradient's.
"""

from plugins import Base

MATRICES = True
EXPECT = "spectrum", "its singular vectors are others"


class Sound(Base):
    grokbench_condition = 1.87

    def stand(self, x, p):
        return x.mT

    def change(self, p, lr):
        tall = p.shape[0] > p.shape[1]
        x = p.grad.mT if tall else p.grad
        x = x / (x.norm() + 1e-30)
        for _ in range(5):  # with the coefficients of Jordan et al. 2024
            square = x @ x.mT
            x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
        p.sub_(self.stand(x, p) if tall else x, alpha=lr)


class Faulty(Sound):
    def stand(self, x, p):
        return x.reshape(p.shape)
