"""The number of pairs that a question needs, against the tests themselves and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from grokbench.stats import permutation, power, sequential


def test_certain_wins_need_the_fewest_pairs():
    assert power.pairs_needed(9.0, 0.0, 0.0, 0.05) == 5
    assert power.pairs_needed(9.0, 0.0, 0.0, 0.05 / 21) == 9
    assert power.pairs_needed(0.0, 0.3, 0.0, 0.05) is None
    assert power.pairs_needed(9.0, 0.0, 0.5, 0.05) > 5, "ties cost pairs"


@pytest.mark.parametrize("power_", [0.5, 0.8, 0.95])
def test_the_sequential_test_needs_as_many_pairs_as_simulations_say(power_):
    rng = np.random.default_rng(7)
    crossed = sequential.log_e_sizes(rng.normal(-0.4, 0.4, (4000, 100))) >= -np.log(0.05)
    first = np.sort(np.where(crossed.any(1), crossed.argmax(1) + 1, 1000))
    assert power.pairs_needed(0.4, 0.4, 0.0, 0.05, power_) == pytest.approx(first[int(power_ * 4000)], abs=2)


def test_more_pairs_are_counted_from_where_a_cell_stands():
    wins = np.full(4, -9.0)
    assert power.more_needed(wins, np.log(20)) == 1
    assert power.more_needed(wins, np.log(420)) == 5
    assert power.more_needed(np.array([-9.0, 9.0]), np.log(20)) is None
    assert power.more_needed(np.array([-0.4, -0.5, 0.1, -0.3]), np.log(20)) > power.more_needed(wins, np.log(20))


def test_exact_power_is_that_of_the_sign_flip_test():
    rng = np.random.default_rng(5)
    n, gap, spread, level = 8, 0.3, 0.4, 0.05
    hits = [permutation.sign_flip(-rng.normal(gap, spread, n), rng)[0] <= level for _ in range(400)]
    assert power.flip_power(n, gap, spread, 0.0, level) == pytest.approx(np.mean(hits), abs=0.08)


def test_beyond_enumeration_power_is_students():
    n, effect = 40, 0.4
    expected = scipy.stats.nct.sf(scipy.stats.t.isf(0.05, n - 1), n - 1, effect * np.sqrt(n))
    assert power.flip_power(n, effect, 1.0, 0.0, 0.05) == pytest.approx(expected, abs=0.05)


def test_needs_grow_as_the_question_gets_harder():
    easy, hard = power.need(0.5, 0.4, 1), power.need(0.8, 0.4, 1)
    assert easy.sequential < hard.sequential
    assert easy.fixed < hard.fixed
    assert power.need(0.5, 0.4, 21).fixed > easy.fixed
    assert power.need(2.0, 0.4, 1) == easy, "later is as hard to find as earlier"
    assert power.need(0.999, 1.0, 21) == (None, None)


@pytest.mark.parametrize("cells", [1, 21])
def test_the_pairs_that_are_named_have_the_power_that_is_asked_for(cells):
    need = power.need(0.6, 0.4, cells)
    gap = -np.log(0.6)
    assert need.fixed
    assert power.flip_power(need.fixed, gap, 0.4, 0.0, 0.05 / cells) >= 0.8
    assert power.flip_power(need.fixed - 1, gap, 0.4, 0.0, 0.05 / cells) < 0.8


def test_a_path_that_got_there_once_counts_from_then_on():
    reached = np.array([[True, False, False], [False, True, False], [False, False, True], [False, False, False]])
    assert [power._first(reached, share) for share in (0.25, 0.5, 0.75, 0.8)] == [1, 2, 3, None]
