"""The rule of a gate, on made-up pairs."""

from __future__ import annotations

import numpy as np
import pytest

from grokbench.claims import Cell
from grokbench.gates.decision import GateOutcome, Pairs, Times, decide, looks, rule
from grokbench.spec import task
from grokbench.stats import sequential

NEVER = 101.0


def pairs(baseline, candidate, held=None, softmax="softmax", name="add"):
    b, c = (np.array(times, dtype=float) for times in (baseline, candidate))
    late = (b, c) if held is None else [np.array(times, dtype=float) for times in held]
    return Pairs(Cell(task(name, 7), softmax), NEVER, Times(b, late[0]), Times(c, late[1]))


def outcome(*cells: Pairs):
    return decide(cells, 0.1, 0.05)


TIMES = np.array([40.0, 50, 44, 61, 52, 47, 39, 58, 66, 41, 55, 49, 53, 45, 48, 60])


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (1.0, GateOutcome.PASS),
        (0.6, GateOutcome.IMPROVED),
        (1.5, GateOutcome.REGRESSION),
        (1.1, GateOutcome.INCONCLUSIVE),
    ],
)
def test_what_times_a_factor_later_are(factor, expected):
    jitter = np.exp(np.linspace(-0.03, 0.03, 16))
    decision = outcome(pairs(TIMES, TIMES * factor * jitter))
    assert decision.outcome is expected
    assert decision.ratio == pytest.approx(factor, rel=0.01)
    assert (decision.more is None) == (expected is not GateOutcome.INCONCLUSIVE or factor == 1.1)


def test_sustained_times_are_guarded():
    decision = outcome(pairs(TIMES, TIMES * 0.8, held=(TIMES, TIMES * 1.6)))
    assert decision.outcome is GateOutcome.REGRESSION
    assert decision.reason.startswith("sustained grok times are more than 10% later, p ")


def test_a_sustained_time_that_is_open_keeps_it_from_passing():
    held = np.where(np.arange(16) % 2, TIMES * 0.7, TIMES * 1.4)
    assert outcome(pairs(TIMES, TIMES, held=(TIMES, held))).outcome is GateOutcome.INCONCLUSIVE


def test_grok_rates_are_guarded_where_most_runs_never_grok():
    never = np.full(16, NEVER)
    decision = outcome(pairs(np.full(16, 91.5), never))  # hardly later than the budget, and never
    assert decision.outcome is GateOutcome.REGRESSION
    assert "fewer runs grok, 0 instead of 16" in decision.reason
    assert "later" not in decision.reason
    assert outcome(pairs(never, never)).outcome is GateOutcome.INCONCLUSIVE


def test_cells_of_one_task_are_one_pair_each_replica():
    cells = [pairs(TIMES, TIMES, softmax=s) for s in ("softmax", "sparsemax")]
    one, two = outcome(cells[0]), outcome(*cells)
    assert two.tests.early == pytest.approx(one.tests.early)
    assert two.tests.fine == one.tests.fine  # shown in each of them


def test_a_minority_that_is_lost_by_far_keeps_it_from_passing():
    """A typical pair is within the margin, but a quarter of the candidate's runs never grok."""
    candidate = np.where(np.arange(16) % 4 == 3, NEVER, TIMES)
    decision = outcome(pairs(TIMES, candidate))
    assert decision.outcome is GateOutcome.INCONCLUSIVE
    assert decision.tests.few > 0.05
    few = outcome(pairs(TIMES[:8], TIMES[:8]))  # too few pairs to exclude it
    assert few.tests.fine < 0.05 < few.tests.few
    assert few.outcome is GateOutcome.INCONCLUSIVE


def test_one_bad_task_among_many_is_seen():
    good = [pairs(TIMES, TIMES, name=name) for name in ("add", "sub", "mul", "gcd")]
    assert outcome(*good).outcome is GateOutcome.PASS
    later = pairs(TIMES, np.minimum(TIMES * 1.3, NEVER), name="exp")
    assert outcome(*good, later).outcome is not GateOutcome.PASS
    assert outcome(*good, pairs(TIMES, np.minimum(TIMES * 1.8, NEVER), name="exp")).outcome is GateOutcome.REGRESSION


def test_the_level_holds_where_runs_are_censored_near_the_margin():
    """The candidate is exactly by the margin later, a share never groks, and the rest do close to the budget."""
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(200):
        times = np.where(rng.random((2, 24)) < 0.5, np.inf, rng.uniform(85, 90, (2, 24)))
        b, c = times[0], times[1] * 1.1
        b, c = (np.where(x >= NEVER, NEVER, x) for x in (b, c))
        passed += rule([pairs(b, c)], 0.1, 0.05)[1].fine <= 0.05
    assert passed <= 18  # 10 on average at the level; more than 18 with a probability of 1 %


def test_looks_grow_up_to_the_most():
    assert looks(48) == [8, 11, 16, 22, 31, 43, 48]
    assert looks(8) == [8]
    assert looks(3) == [3]


def test_each_of_three_guards_has_a_third_of_the_level():
    """Too few pairs: the p of one guard is below the level, but not below its third."""
    found = [rule([pairs(TIMES[:n], TIMES[:n] * 1.5)], 0.1, 0.05) for n in range(1, 17)]
    between = [result for result, tests in found if 0.05 / 3 < tests.late <= 0.05]
    assert between
    assert all(result is GateOutcome.INCONCLUSIVE for result in between)
    assert found[-1][0] is GateOutcome.REGRESSION


def three_tasks():
    """Pairs of three tasks that differ in all they say."""
    rng = np.random.default_rng(3)
    cells = []
    for name, factor in (("add", 0.9), ("sub", 1.05), ("gcd", 1.2)):
        later = TIMES * factor * rng.uniform(0.8, 1.3, 16)
        later[5 : 5 + int(10 * (factor - 0.9))] = NEVER
        cells.append(pairs(TIMES, np.minimum(later, NEVER), (TIMES, np.minimum(1.1 * later, NEVER)), name=name))
    return cells


def test_what_speaks_for_the_candidate_is_that_of_the_worst_cell():
    cells = three_tasks()
    alone = [rule([cell], 0.1, 0.05)[1] for cell in cells]
    together = rule(cells, 0.1, 0.05)[1]
    for name in ("fine", "fine_sustained", "few"):
        shown = [getattr(tests, name) for tests in alone]
        assert len(set(shown)) > 1
        assert getattr(together, name) == max(shown)


def test_what_speaks_against_it_is_corrected_for_all_cells_together_and_for_the_worst():
    times = TIMES[:3]
    cells = [pairs(times, np.minimum(times * f, NEVER), name=n) for n, f in (("add", 1.4), ("sub", 1.6), ("gcd", 1.5))]
    alone = [rule([cell], 0.1, 0.05)[1].late for cell in cells]
    # As one task of three times as many replicas, in the order in which the pairs of three tasks are looked at
    all_pairs = [np.stack([getattr(e, arm).first for e in cells], 1).ravel() for arm in ("baseline", "candidate")]
    as_one = rule([pairs(*all_pairs)], 0.1, 0.05)[1].late
    assert rule(cells, 0.1, 0.05)[1].late == pytest.approx(min(2 * as_one, 6 * min(alone)))
    assert 0.001 < 2 * as_one < 1


def test_softmaxes_do_not_make_up_for_one_another():
    """One is much later, two are earlier: the mean over them is within the margin, one of them is not."""
    cells = [
        pairs(TIMES / 2, TIMES / 2 * f, softmax=s)
        for s, f in (("softmax", 1.6), ("sparsemax", 0.6), ("stablemax", 1.0))
    ]
    decision = outcome(*cells)
    assert decision.outcome is GateOutcome.REGRESSION
    slightly = [pairs(TIMES / 2, TIMES / 2 * f, softmax=s) for s, f in (("softmax", 1.1), ("sparsemax", 0.8))]
    assert outcome(*slightly).outcome is GateOutcome.INCONCLUSIVE
    assert outcome(*slightly).reason.startswith("first crossings in add-softmax are not yet shown to be within 10%")


def test_a_mean_time_beyond_the_margin_keeps_it_from_passing():
    """Most pairs are much earlier, and few are lost; but those that never grok turn the ratio of the means."""
    n = np.arange(44)
    candidate = np.where(n % 11 == 5, NEVER, 5.0)
    decision = outcome(pairs(np.full(44, 10.0), candidate))
    assert max(decision.tests.fine, decision.tests.fine_sustained, decision.tests.few) <= 0.05
    assert decision.outcome is GateOutcome.INCONCLUSIVE
    assert decision.reason.startswith("mean first crossings are later by 1.37; 40 of 44 pairs are within 10%")


def test_the_interval_has_the_factors_that_were_never_rejected():
    baseline, candidate = TIMES, np.minimum(TIMES[::-1] * 1.2, NEVER)
    decision = outcome(pairs(baseline, candidate))

    def largest_e(factor: float, sign: int) -> float:
        end = NEVER * min(1.0, factor)  # up to there both arms can be seen
        gaps = np.log(np.minimum(candidate, end) / np.minimum(factor * baseline, end))
        return np.exp(sequential.log_e_sizes(sign * gaps).max())

    low, high = decision.interval
    assert low < decision.ratio < high
    assert largest_e(high * 1.01, 1) > 40 > largest_e(high * 0.99, 1)  # 40 = 1 / 0.025
    assert largest_e(low * 0.99, -1) > 40 > largest_e(low * 1.01, -1)


def test_a_ratio_that_no_run_bounds_is_open():
    decision = outcome(pairs(TIMES, np.full(16, NEVER)))
    assert decision.ratio is None
    assert decision.interval[0] > 1.1
    assert "time ratio unknown (" in decision.reason
    assert "–∞)" in decision.reason
