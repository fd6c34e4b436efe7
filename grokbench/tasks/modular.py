"""Tasks of two numbers a, b < p: every question [a, op, b, =] once, with its answer."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from grokbench.spec import TaskSpec
from grokbench.tasks.table import Table


def table(spec: TaskSpec) -> Table:
    """Rows in the order of a, then b. 0 to the power of 0 is 1; gcd(0, 0) is 0; `div` leaves out b = 0."""
    p = spec.modulus
    assert p is not None
    pairs = [(a, b) for a in range(p) for b in range(p) if spec.name != "div" or b != 0]
    answers: dict[str, Callable[[int, int], int]] = {
        "add": lambda a, b: (a + b) % p,
        "sub": lambda a, b: (a - b) % p,
        "mul": lambda a, b: a * b % p,
        "div": lambda a, b: a * pow(b, -1, p) % p,
        "exp": lambda a, b: pow(a, b, p),
        "gcd": math.gcd,
    }
    operator, equals = p, p + 1
    questions = np.array([[a, operator, b, equals] for a, b in pairs], dtype=np.int64)
    return Table(questions, np.array([answers[spec.name](a, b) for a, b in pairs], dtype=np.int64))
