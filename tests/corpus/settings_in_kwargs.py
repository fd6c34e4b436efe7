"""Settings are taken as **settings, and only the rate is handed on.

Akin to LiyuanLucasLiu/RAdam#24, a setting that does not arrive where it should.
"""

import torch

EXPECT = "no dead knobs", "changes nothing: dampening, maximize, momentum"


class Sound(torch.optim.SGD):
    def __init__(self, params, **settings):
        super().__init__(params, **settings)


class Faulty(torch.optim.SGD):
    def __init__(self, params, **settings):
        super().__init__(params, lr=settings.get("lr", 0.01))
