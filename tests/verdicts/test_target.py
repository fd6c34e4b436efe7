"""An arm against a number: sign flips, which take values as symmetric, and the sign test, which does not."""

from __future__ import annotations

import io

import numpy as np
import pytest
import scipy.stats

from grokbench.report import judged as report
from grokbench.spec import UsageError
from grokbench.stats import permutation
from grokbench.verdicts.table import judge


def table(values):
    return io.StringIO("\n".join(["arm,loss", *(f"x,{float(value)!r}" for value in values)]))


@pytest.mark.parametrize("n", [1, 6, 19, 300])
def test_the_sign_test_is_scipys(n):
    gaps = np.random.default_rng(n).normal(-0.2, 1, n)
    gaps[1:2] = 0
    below, above = (gaps < 0).sum(), (gaps > 0).sum()
    expected = [scipy.stats.binomtest(k, below + above, alternative="greater").pvalue for k in (below, above)]
    assert permutation.sign_test(gaps) == pytest.approx(expected, rel=1e-12)
    assert permutation.sign_test(np.zeros(3)) == (1, 1)


def test_it_keeps_its_level_for_skewed_values_about_their_median():
    """Sign flips do not: they call up to half of such samples lower than they are."""
    rng, signs, flips = np.random.default_rng(0), 0, 0
    for _ in range(150):
        values = np.exp(rng.normal(0, 1.5, 24))  # their median is 1
        (v,) = judge(table(values), value="loss", better="higher", target=1.0, sign_test=True).verdicts
        signs += v.p <= 0.05
        flips += permutation.sign_flip(1.0 - values, rng)[0] <= 0.05
    assert signs <= 14 < flips


def test_what_rests_on_symmetry_is_said():
    values = [3.0, 3.2, 3.26, 3.27, 3.29, 3.29, 3.29, 3.0, 3.1, 3.27]
    judged = judge(table(values), value="loss", better="lower", target=3.28)
    (v,) = judged.verdicts
    assert v.supported
    assert "7 of 10 are lower than 3.28, by the sign test p 0.17; so it rests on symmetry" in v.note
    assert "--sign-test decides by it" in " ".join(report.text(judged, None).split())
    judged = judge(table(values), value="loss", better="lower", target=3.28, sign_test=True)
    (w,) = judged.verdicts
    assert (w.p, w.supported) == (pytest.approx(0.171875), False)
    assert w.interval == v.interval, "of the values, not of their signs"
    assert "A sign test tells whether more than half" in report.text(judged, None)
    with pytest.raises(UsageError, match="a sign test is about a target"):
        judge(table(values), sign_test=True)
