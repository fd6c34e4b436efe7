"""Groups are filled from a set of names, whose order differs from process to process.

As in pytorch/pytorch#6031, lucidrains/DALLE2-pytorch#130 and NVIDIA/Megatron-LM#1515.
"""

import torch

EXPECT = "processes", "is the order of parameters taken from a set?"


def _adam(named, names, lr):
    named = dict(named)
    return torch.optim.Adam([named[name] for name in names], lr=lr)


def Sound(named, lr=0.01):  # noqa: N802
    return _adam(named, [name for name, _ in named], lr)


def Faulty(named, lr=0.01):  # noqa: N802
    return _adam(named, {name for name, _ in named}, lr)
