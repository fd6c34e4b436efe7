"""Arms that were evaluated unlike often, with the column `before`: compared as if they had been evaluated alike."""

from __future__ import annotations

import numpy as np
import pytest

from grokbench.stats import permutation, sequential
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.evaluations import Seen, alike
from grokbench.verdicts.reading import Row
from grokbench.verdicts.table import evidence_of, judge


def rows(log_times, steps, budget=np.inf, offsets=(0, 0)):
    """Of log times (2, n) of the baseline and the candidate, by the epochs between evaluations of each."""
    made = []
    for arm, logs, step, offset in zip(("base", "cand"), log_times, steps, offsets, strict=True):
        for replica, log in enumerate(logs):
            up = float(np.ceil((np.exp(log) - offset) / step) * step + offset)
            late = up > budget
            before = None if late else up - step
            made.append(Row(len(made) + 2, "all", arm, str(replica), budget if late else up, not late, before))
    return made


def seen(time, step):
    return Seen(*(np.array([x], dtype=float) for x in (time, time - step, time, step)))


@pytest.mark.parametrize(("fine", "coarse"), [(60, 100), (99, 100), (100, 100), (101, 150), (151, 200), (37, 50)])
def test_the_finer_time_is_rounded_up_to_the_evaluations_of_the_coarser(fine, coarse):
    b, c = alike(seen(fine, 1), seen(100, 50))
    assert (b, c) == (coarse, 100)
    b, c = alike(seen(100, 50), seen(fine, 1))
    assert (b, c) == (100, coarse), "whichever arm it is"


def test_where_several_evaluations_may_have_been_the_first_each_side_takes_its_own():
    one, other = seen(90, 30), seen(250, 50)  # between 60 and 90 there are 100, and no other
    assert [alike(one, other, side)[0] for side in (1, 0, -1)] == [100, 100, 100]
    one = seen(120, 30)  # from 90 to 120: at 100, or at 150
    assert [round(float(alike(one, other, side)[0][0])) for side in (1, 0, -1)] == [100, 122, 150]
    assert [round(float(alike(other, one, side)[1][0])) for side in (1, 0, -1)] == [150, 122, 100]


@pytest.mark.parametrize(
    ("steps", "offsets"), [((1, 50), (0, 0)), ((50, 1), (0, 0)), ((30, 50), (0, 0)), ((50, 50), (0, 20))]
)
@pytest.mark.parametrize("paired", [True, False])
def test_arms_of_one_law_are_seldom_called_different(steps, offsets, paired):
    """Rounded up as they are, the rarer one is later in up to half of the tables."""
    rng, few = np.random.default_rng(7), np.zeros(4)
    for _ in range(60):
        ((_, (e,)),) = evidence_of(rows(rng.normal(5, 0.3, (2, 12)), steps, offsets=offsets), paired=paired)
        if paired:
            sides = permutation.sign_flip(e.differences, rng)
            few[2:] += [sequential.p_value(sign * e.differences) <= 0.05 for sign in (1, -1)]
        else:
            sides = permutation.shuffle([np.log(e.candidate.value)], [np.log(e.baseline.value)])
        few[:2] += np.array(sides) <= 0.05
    assert few.max() <= 8, few


def test_a_factor_between_coarse_times_is_as_uncertain_as_the_evaluations():
    """Every run was reached at the second evaluation or never: that does not tell the factor to a hundredth."""
    made = rows(np.log([[180.0] * 7 + [900.0], [170.0] * 7 + [900.0]]), (100, 100), budget=500)
    for paired in (True, False):
        (v,) = judge(made, "base", paired=paired).verdicts
        assert v.ratio == pytest.approx(1)
        assert v.interval is None or v.interval[1] / max(v.interval[0], 1e-9) > 2


def test_a_run_that_comes_too_late_for_the_other_arms_evaluations_never_gets_there():
    made = rows(np.log([[1010.0, 300.0], [1020.0, 310.0]]), (1, 50), budget=1015)
    ((_, (e,)),) = evidence_of(made)
    assert e.differences.tolist() == [0, pytest.approx(np.log(350 / 300))]


def test_factors_that_hold_whenever_one_looks_take_evaluations_into_account():
    rng, hits = np.random.default_rng(3), 0
    for _ in range(12):
        ((_, cells),) = evidence_of(rows(rng.normal([[5.0], [4.7]], 0.3, (2, 10)), (1, 40), budget=200))
        _, interval = ENDPOINTS["first"].ratio_so_far(cells)
        low, high = interval or (np.inf, 0)
        hits += low <= np.exp(-0.3) <= high
    assert hits >= 11
