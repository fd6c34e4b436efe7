"""Grok times against the words of `GrokCriterion`, read slowly."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench.records.grok import GrokDetector, GrokTime, Outcome, Trace, grok_time
from grokbench.spec import GrokCriterion

HIGH, LOW = 1.0, 0.0


class Answer(NamedTuple):
    fit: int | None
    first: int | None
    sustained: int | None
    below: int


def oracle(train: list[float], validation: list[float], rule: GrokCriterion) -> Answer:
    """Every epoch is tried in turn, and everything is looked up anew for each."""
    epochs = range(1, len(train) + 1)

    def settled(e: int) -> bool:
        window = train[e - 1 : e - 1 + rule.settle]
        return len(window) == rule.settle and all(a >= rule.train_threshold for a in window)

    def crosses(e: int) -> bool:
        return validation[e - 1] >= rule.threshold

    def held(e: int) -> bool:
        window = validation[e - 1 : e + rule.hold]
        return len(window) == rule.hold + 1 and all(a >= rule.threshold for a in window)

    fit = next((e for e in epochs if settled(e)), None)
    if fit is None:
        return Answer(None, None, None, 0)
    first = next((e for e in epochs if e >= fit and crosses(e)), None)
    sustained = next((e for e in epochs if e >= fit and held(e)), None)
    below = 0 if first is None else sum(not crosses(e) for e in epochs if e > first)
    return Answer(fit, first, sustained, below)


def trace(train: list[float], validation: list[float]) -> Trace:
    n = len(train)
    losses = np.zeros(n, np.float32)
    epoch = np.arange(1, n + 1, dtype=np.int32)
    return Trace(epoch, np.array(train, np.float64), np.array(validation, np.float64), losses, losses)


def answer(time: GrokTime) -> Answer:
    return Answer(time.fit, time.first, time.sustained, time.below)


def judged(train: list[float], validation: list[float], rule: GrokCriterion) -> Answer:
    return answer(grok_time(trace(train, validation), rule))


# Few distinct accuracies, thresholds among them, so that every transition and every tie occurs; mostly high,
# so that long stretches do too.
ACCURACY = st.sampled_from([0.0, 0.5, 0.9, 0.95, 0.99, 1.0, 1.0, 1.0, float("nan")])
CURVES = st.lists(st.tuples(ACCURACY, ACCURACY), max_size=30)
THRESHOLD = st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0])
RULE = st.builds(
    GrokCriterion,
    budget=st.just(1000),
    threshold=THRESHOLD,
    train_threshold=THRESHOLD,
    settle=st.integers(1, 4),
    hold=st.integers(0, 4),
)


@settings(deadline=None, max_examples=100)
@given(curves=CURVES, rule=RULE)
def test_equals_the_oracle(curves: list[tuple[float, float]], rule: GrokCriterion) -> None:
    train, validation = [t for t, _ in curves], [v for _, v in curves]
    time = grok_time(trace(train, validation), rule)
    assert answer(time) == oracle(train, validation, rule)
    assert time.epochs == len(curves)
    assert time.outcome is (Outcome.CENSORED if time.first is None else Outcome.GROKKED)


@settings(deadline=None, max_examples=80)
@given(curves=CURVES, later=CURVES, rule=RULE)
def test_says_when_nothing_can_change_any_more(
    curves: list[tuple[float, float]], later: list[tuple[float, float]], rule: GrokCriterion
) -> None:
    detector = GrokDetector(rule)
    finished = False
    for epoch, (train, validation) in enumerate(curves, 1):
        now = detector.update(epoch, train, validation)
        assert now or not finished, "said True, then False"
        finished = now
    before = oracle([t for t, _ in curves], [v for _, v in curves], rule)[:3]
    # Whatever follows; and a long high stretch, which is what can still change an answer that is not final.
    perfect = [(HIGH, HIGH)] * (rule.settle + rule.hold + 1)
    futures = [later, perfect, [*later, *perfect]]
    afters = []
    for future in futures:
        whole = curves + future
        afters.append(oracle([t for t, _ in whole], [v for _, v in whole], rule)[:3])
    if finished:
        assert afters == [before] * 3
        for epoch, (train, validation) in enumerate(later, len(curves) + 1):
            assert detector.update(epoch, train, validation)
        assert answer(detector.result(1000, False))[:3] == before
    else:
        assert afters[1] != before


def test_a_crossing_before_training_has_settled_does_not_count() -> None:
    rule = GrokCriterion(budget=100, settle=3, hold=1)
    train = [LOW, HIGH, HIGH, LOW, HIGH, HIGH, HIGH, HIGH, HIGH]
    validation = [HIGH, HIGH, HIGH, HIGH, LOW, LOW, LOW, HIGH, HIGH]
    assert judged(train, validation, rule) == Answer(fit=5, first=8, sustained=8, below=0)


def test_a_crossing_inside_the_settling_stretch_counts() -> None:
    rule = GrokCriterion(budget=100, settle=3, hold=2)
    train = [LOW, HIGH, HIGH, HIGH, HIGH, HIGH]
    validation = [HIGH, LOW, HIGH, LOW, HIGH, HIGH]
    assert judged(train, validation, rule) == Answer(fit=2, first=3, sustained=None, below=1)
    assert judged([*train, LOW], [*validation, HIGH], rule) == Answer(fit=2, first=3, sustained=5, below=1)


def test_the_first_epoch_can_be_all_of_it() -> None:
    rule = GrokCriterion(budget=100, settle=1, hold=0)
    assert judged([HIGH], [HIGH], rule) == Answer(1, 1, 1, 0)
    assert GrokDetector(rule).update(1, HIGH, HIGH)


def test_training_that_slips_after_it_has_settled_takes_nothing_back() -> None:
    rule = GrokCriterion(budget=100, settle=2, hold=0)
    assert judged([HIGH, HIGH, LOW, LOW], [LOW, LOW, LOW, HIGH], rule) == Answer(1, 4, 4, 0)


def test_slips_after_the_first_crossing_are_counted() -> None:
    rule = GrokCriterion(budget=100, settle=1, hold=2)
    validation = [LOW, HIGH, LOW, LOW, HIGH, HIGH, HIGH]
    assert judged([HIGH] * 7, validation, rule) == Answer(1, 2, 5, 2)


@pytest.mark.parametrize(
    ("rows", "of", "threshold"), [(190, 200, 0.95), (99, 100, 0.99), (57, 60, 0.95), (19, 20, 0.95), (9, 10, 0.9)]
)
def test_an_accuracy_at_the_threshold_counts(rows: int, of: int, threshold: float) -> None:
    rule = GrokCriterion(budget=100, threshold=threshold, train_threshold=threshold, settle=1, hold=0)
    at, under = [rows / of], [(rows - 1) / of]
    assert judged(at, at, rule) == Answer(1, 1, 1, 0)
    assert judged(at, under, rule) == Answer(1, None, None, 0)
    assert judged(under, at, rule) == Answer(None, None, None, 0)


def test_a_run_without_a_crossing_is_censored() -> None:
    time = grok_time(trace([HIGH] * 5, [LOW] * 5), GrokCriterion(budget=5))
    assert time == GrokTime(Outcome.CENSORED, 5, fit=1)
    assert time.epoch is None


def test_a_run_that_never_settled_is_censored_whatever_its_validation() -> None:
    time = grok_time(trace([HIGH, HIGH, LOW] * 3, [HIGH, LOW, HIGH] * 3), GrokCriterion(budget=9, hold=0))
    assert time == GrokTime(Outcome.CENSORED, 9)


def test_a_grok_that_has_not_held_yet_is_a_grok() -> None:
    time = grok_time(trace([HIGH] * 5, [LOW, LOW, HIGH, HIGH, HIGH]), GrokCriterion(budget=5, hold=10))
    assert time == GrokTime(Outcome.GROKKED, 5, fit=1, first=3)
    assert time.epoch == 3


def test_a_diverged_run_keeps_what_it_had_reached_but_did_not_grok() -> None:
    nan = float("nan")
    curves = trace([HIGH, HIGH, HIGH, nan], [LOW, HIGH, HIGH, nan])
    time = grok_time(curves, GrokCriterion(budget=50, settle=2, hold=1), diverged=True)
    assert time == GrokTime(Outcome.DIVERGED, 4, fit=1, first=2, sustained=2, below=1)
    assert time.epoch is None


@pytest.mark.parametrize("diverged", [False, True])
def test_a_run_without_evaluations(diverged: bool) -> None:
    time = grok_time(trace([], []), GrokCriterion(budget=5), diverged)
    assert time == GrokTime(Outcome.DIVERGED if diverged else Outcome.CENSORED, 0)


@pytest.mark.parametrize("field", ["epoch", "train_accuracy", "validation_accuracy", "train_loss", "validation_loss"])
def test_traces_are_equal_in_every_bit_or_not_at_all(field: str) -> None:
    nan = float("nan")
    ours, theirs = trace([HIGH, LOW], [LOW, nan]), trace([HIGH, LOW], [LOW, nan])
    assert ours == theirs
    getattr(theirs, field)[0] += 1
    assert ours != theirs
    assert ours != "a trace"


def test_training_goes_on_after_the_crossing_for_as_long_as_asked() -> None:
    rule = GrokCriterion(budget=10, settle=1, hold=1, after=12)
    detector = GrokDetector(rule)
    validation = [LOW] * 8 + [HIGH, HIGH, LOW, HIGH, LOW, LOW] + [HIGH] * 20
    ended = [epoch for epoch, v in enumerate(validation, 1) if detector.update(epoch, HIGH, v)]
    assert ended[0] == 9 + 12
    time = detector.result(21, False)
    assert (time.first, time.sustained, time.below) == (9, 9, 3)


def test_without_a_crossing_within_the_budget_it_does_not_go_on() -> None:
    detector = GrokDetector(GrokCriterion(budget=10, settle=1, hold=1, after=12))
    assert [detector.update(epoch, HIGH, LOW) for epoch in range(1, 11)] == [False] * 9 + [True]
    detector = GrokDetector(GrokCriterion(budget=10, settle=1, hold=1, after=12))
    assert [detector.update(epoch, LOW, LOW) for epoch in range(1, 11)] == [False] * 9 + [True]
