"""For your own tests of an optimizer: conformance as an assertion, and gradients with a chosen spectrum.

from grokbench import testing

def test_my_optimizer():
testing.assert_conforms("mine:Mine(lr=0.01)")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grokbench.conformance import CHECKS, CheckOutcome, conformance, expectations
from grokbench.conformance.rig import with_spectrum
from grokbench.spec import registry

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy
    from torch import Tensor

__all__ = ["CHECKS", "assert_conforms", "matrices", "spectra", "with_spectrum"]


def assert_conforms(optimizer: str) -> None:
    """Raise `AssertionError` with all that an optimizer breaks, except what it declares in `grokbench_expected`.

    Raises `UsageError` if there is no such optimizer.
    """
    spec = registry.parse(optimizer)
    found = [f for f in conformance(spec, expectations(spec)) if f.outcome is CheckOutcome.BREAKS]
    if found:  # no `assert`, which python -O leaves out
        raise AssertionError(f"{optimizer}: " + "; ".join(f"{f.check}: {f.text}" for f in found))


def spectra(count: int, condition: float = 1e3, largest: float = 1e3) -> SearchStrategy[list[float]]:
    """Lists of `count` singular values, falling: the first up to `largest`, the last at least it over `condition`."""
    from hypothesis import strategies as st

    scale = st.floats(1 / largest, largest)
    shares = st.lists(st.floats(1 / condition, 1), min_size=count - 1, max_size=count - 1)
    return st.builds(lambda first, rest: [first, *sorted((first * r for r in rest), reverse=True)], scale, shares)


def matrices(
    spectrum: SearchStrategy[list[float]] | None = None, sides: tuple[int, int] = (1, 12), condition: float = 1e3
) -> SearchStrategy[Tensor]:
    """Gradients (out, into), float64, with sides in this range, a chosen spectrum and random bases.

    spectrum: lists of as many values as the shorter side has, for which both sides then have to be fixed.
    """
    from hypothesis import strategies as st

    side, seeds = st.integers(*sides), st.integers(0, 2**31 - 1)

    @st.composite
    def matrix(draw: Any) -> Tensor:
        shape = draw(side), draw(side)
        values = draw(spectra(min(shape), condition) if spectrum is None else spectrum)
        return with_spectrum(shape, values, draw(seeds))

    return matrix()
