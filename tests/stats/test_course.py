"""Closed testing against all its intersections, and its level where looking, stopping and cancelling could break it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench.stats.course import closed, follow, needed
from grokbench.stats.sequential import FIRST, log_e_sizes

LEVEL = 0.05
BY_FAR = -5.0
E_VALUES = st.lists(st.floats(-8, 12), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(E_VALUES, st.integers(0, 3))
def test_is_the_smallest_mean_over_all_sets_of_cells(logs: list[float], others: int) -> None:
    e = [*np.exp(logs), *[0.0] * others]
    for i, found in enumerate(np.exp(closed(np.array(logs), len(e)))):
        rest = [j for j in range(len(e)) if j != i]
        sets = (s for size in range(len(e)) for s in itertools.combinations(rest, size))
        assert found == pytest.approx(min(np.mean([e[j] for j in (i, *s)]) for s in sets))


def test_huge_e_values_stay_finite():
    assert np.isfinite(closed(np.array([30_000.0, -30_000.0, 900.0]), 5)).any()
    assert not np.isnan(closed(np.array([30_000.0, -30_000.0]), 2)).any()


@settings(deadline=None, max_examples=40)
@given(E_VALUES, st.integers(0, 3))
def test_what_is_needed_is_just_enough(others: list[float], further: int) -> None:
    family = len(others) + 1 + further
    target = needed(np.array(others), family, LEVEL)
    for step, enough in ((1e-6, True), (-1e-6, False)):
        assert (closed(np.array([target + step, *others]), family)[0] >= -np.log(LEVEL)) is np.bool_(enough)


def test_cells_help_one_another_and_stop_when_they_are_decided():
    strong = [np.full(16, BY_FAR)] * 4
    alone = follow(strong[:1], 4, LEVEL, 16)
    together = follow(strong, 4, LEVEL, 16)
    assert alone.pairs.tolist() == [7]  # 2^7 > 4 / 0.05
    assert together.pairs.tolist() == [FIRST] * 4
    assert not together.open.any()
    assert (together.p_adjusted <= LEVEL).all()
    assert (together.p_reverse_adjusted == 1).all()


def test_a_cell_goes_on_as_long_as_five_pairs_are_left_that_could_decide_it():
    """Each at most doubles its e-value, and 2⁵ > 1 / 0.05 > 2⁴."""
    ties = np.zeros(6)
    assert follow([ties], 1, LEVEL, 11).open.tolist() == [True]
    assert follow([ties], 1, LEVEL, 10).open.tolist() == [False]


def test_claim_and_reverse_stop_alike():
    """Some of these cells are decided on one side, some on the other, and some stop since no outcome could decide."""
    rng = np.random.default_rng(1)
    effects = np.array([-0.6, 0.6, -0.2, 0.2, 0.0, 0.0])
    differences = list(effects[:, None] + rng.normal(0, 0.3, (6, 12)))
    one, other = follow(differences, 6, LEVEL, 12), follow([-d for d in differences], 6, LEVEL, 12)
    assert len(set(one.pairs)) > 2
    assert one.pairs.tolist() == other.pairs.tolist()
    assert one.p_adjusted.tolist() == other.p_reverse_adjusted.tolist()
    assert one.p_reverse_adjusted.tolist() == other.p_adjusted.tolist()


def test_a_cell_that_lacks_a_pair_holds_up_the_others_but_not_those_that_have_ended():
    strong, slow = np.full(16, BY_FAR), np.tile([0.1, -0.1], 8)
    course = follow([strong, slow[:9], slow], 3, LEVEL, 16)
    assert course.pairs.tolist() == [6, 9, 9]
    assert course.open.tolist() == [False, True, True]
    none = follow([strong, slow[:0]], 2, LEVEL, 16)
    assert none.pairs.tolist() == [0, 0]
    assert none.open.all()


def test_a_cell_stops_where_no_outcome_could_decide_it():
    late = np.array([BY_FAR, -BY_FAR] * 8)
    course = follow([late], 1, LEVEL, 16)
    n = int(course.pairs[0])
    assert not course.open.any()
    assert min(course.p_adjusted[0], course.p_reverse_adjusted[0]) > LEVEL
    assert n < 16
    for side in (BY_FAR, -BY_FAR):
        assert log_e_sizes(np.append(late[:n], [20 * side] * (16 - n))).max() < -np.log(LEVEL)
        assert log_e_sizes(np.append(late[: n - 1], [20 * side] * (17 - n))).max() >= -np.log(LEVEL) or n == FIRST


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000))
def test_what_stopped_is_judged_alike_whatever_else_there_is(seed: int) -> None:
    """The stops replayed on all pairs, and the same numbers from the pairs up to there alone."""
    rng = np.random.default_rng(seed)
    gaps = [rng.normal(mean, 0.3, 16) for mean in rng.choice([-0.6, -0.2, 0.0, 0.4], 4)]
    course = follow(gaps, 5, LEVEL, 16)
    short = [g[:n] for g, n in zip(gaps, course.pairs, strict=True)]
    again, judged = follow(short, 5, LEVEL, 16), follow(short, 5, LEVEL)
    assert again.pairs.tolist() == course.pairs.tolist()
    for name in ("p", "p_reverse", "p_adjusted", "p_reverse_adjusted"):
        assert getattr(course, name) == pytest.approx(getattr(judged, name))


@pytest.mark.parametrize("effects", [(0.0, 0.0, 0.0), (0.0, -1.0, 0.4)])
def test_false_decisions_are_as_seldom_as_the_level_says(effects):
    """Of the cells without an effect, beside others with one that stop early."""
    rng = np.random.default_rng(1)
    false = np.zeros(2, dtype=int)
    tables = 400
    for _ in range(tables):
        course = follow([rng.normal(effect, 0.3, 16) for effect in effects], len(effects), LEVEL, 16)
        null = np.array(effects) == 0
        false += [(p[null] <= LEVEL).any() for p in (course.p_adjusted, course.p_reverse_adjusted)]
    assert (false <= scipy.stats.binom.isf(1e-4, tables, LEVEL)).all()
