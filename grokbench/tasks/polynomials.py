"""Polynomials of two numbers x, y < p, as in Power et al. 2022 (arXiv 2201.02177): questions [x, op, y, =]."""

from __future__ import annotations

from grokbench.spec.errors import whole
from grokbench.tasks.table import Family, Table, pairs


def quadratic(modulus: int) -> Table:
    """x² + xy + y² mod p."""
    whole("modulus", modulus, 2)
    questions = pairs(modulus)
    x, y = questions[:, 0], questions[:, 2]
    return Table(questions, (x * x + x * y + y * y) % modulus, classes=modulus)


def cubic(modulus: int) -> Table:
    """x³ + xy² mod p."""
    whole("modulus", modulus, 2)
    questions = pairs(modulus)
    x, y = questions[:, 0], questions[:, 2]
    return Table(questions, (x * x + y * y) * x % modulus, classes=modulus)


# The shares are chosen here: the paper shows both for many, and the cubic one needs more than the quadratic one.
FAMILIES = {
    "quadratic": Family(quadratic, {"modulus": 97}, 0.6, "x² + xy + y² mod p"),
    "cubic": Family(cubic, {"modulus": 97}, 0.8, "x³ + xy² mod p"),
}
