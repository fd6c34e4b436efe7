"""Tasks that tests plug in by name, as `tables:function`; most have a fault. Without torch, whose import takes long."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


def sound() -> Any:
    return np.arange(12).reshape(6, 2), np.arange(6) % 2


def repeats() -> Any:
    return np.arange(12).reshape(6, 2) % 4, np.arange(6) % 2


def no_table() -> Any:
    return np.arange(6), np.arange(6)


def here_alone() -> Any:
    return np.arange(12).reshape(6, 2), np.arange(6) % (2 + (os.getpid() == PROCESS))


PROCESS = int(os.environ.setdefault("GROKBENCH_TEST_PROCESS", str(os.getpid())))
