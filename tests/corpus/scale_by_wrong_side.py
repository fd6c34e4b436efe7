"""The scale of an orthogonalised update is √max(1, into/out) instead of √max(1, out/into).

The formula is stated in KellerJordan/Muon#16.
"""

import torch
from plugins import Base

MATRICES = True
ONLY_SAID = True
EXPECT = "shape", "square 0.025, tall 0.0177, wide 0.025"


class Sound(Base):
    def ratio(self, out, into):
        return max(1.0, out / into) ** 0.5

    def change(self, p, lr):
        u, _, vt = torch.linalg.svd(p.grad, full_matrices=False)
        p.sub_(u @ vt, alpha=lr * self.ratio(*p.shape))


class Faulty(Sound):
    def ratio(self, out, into):
        return max(1.0, into / out) ** 0.5
