"""Records -> evidence: what a censored time allows to be said, when a cell stops, and how tuning chooses."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from judged import ADD, CI, EARLIER, FOUR, MIXED, SIX, Times, claim, judge, pool, records_of, runs_of

from grokbench.claims import Cell, Claim, Comparison
from grokbench.stats import permutation, sequential
from grokbench.verdicts import evidence
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.evidence import Records, compare, gather
from grokbench.verdicts.pairs import Sample
from grokbench.verdicts.verdict import Status

BUDGET = 100


@settings(deadline=None, max_examples=80)
@given(
    baseline=st.integers(1, 250),
    candidate=st.integers(1, 250),
    margin=st.sampled_from([0.5, 0.9, 1.0, 1.1, 2.0]),
)
def test_a_pair_counts_only_for_what_is_certain(baseline: int, candidate: int, margin: float) -> None:
    """Against the true times, of which those beyond the budget are hidden."""
    b, c = (np.array([min(t, BUDGET + 1.0)]) for t in (baseline, candidate))
    arms = [Sample(x, x, x) for x in (b, c)]
    (found,) = compare("first", margin, "cell", "block", arms[0], arms[1], BUDGET + 1.0).differences
    if found < 0:
        assert candidate < margin * baseline
    if found > 0:
        assert candidate > margin * baseline
    seen = min(1.0, margin) * (BUDGET + 1)
    assert found == pytest.approx(np.log(min(candidate, seen) / min(margin * baseline, seen)), abs=1e-9)


TIMES = st.sampled_from([10.0, 40.0, 90.0, 100.0, 150.0, np.inf])


@settings(deadline=None, max_examples=12)
@example(pairs=[(20.0, np.inf)] * 6, margin=0.5, sequential=False)
@example(pairs=[(90.0, np.inf)] * 6, margin=0.5, sequential=True)
@example(pairs=[(90.0, np.inf)] * 6, margin=1.1, sequential=False)
@given(
    pairs=st.lists(st.tuples(TIMES, TIMES), min_size=6, max_size=6),
    margin=st.sampled_from([0.5, 0.9, 1.0, 1.1, 2.0]),
    sequential=st.booleans(),
)
def test_a_level_holds_exactly_on_the_margin_whatever_the_budget_hides(
    pairs: list[tuple[float, float]], margin: float, sequential: bool
) -> None:
    """T_candidate and margin · T_baseline are exchangeable, so each of the 64 ways to deal them is as likely."""
    asked = Comparison("", "", "", ("baseline", "candidate"), margin=margin, sequential=sequential)
    found = []
    for dealt in itertools.product([0, 1], repeat=6):
        candidate = np.array([pair[swap] for pair, swap in zip(pairs, dealt, strict=True)])
        baseline = np.array([pair[1 - swap] for pair, swap in zip(pairs, dealt, strict=True)]) / margin
        arms = [Sample(x, x, x) for x in (np.where(t <= BUDGET, t, BUDGET + 1.0) for t in (baseline, candidate))]
        e = compare("first", margin, "cell", "block", arms[0], arms[1], BUDGET + 1.0)
        found.append(ENDPOINTS["first"].test(asked, [e], np.random.default_rng(0))[:2])
    for side in np.array(found).T:
        for p in side:
            assert (side <= p).mean() <= p + 1e-12


@pytest.mark.parametrize(("margin", "noise"), [(0.5, 0.0), (0.5, 0.03), (1.1, 0.0), (1.1, 0.03)])
def test_whole_epochs_do_not_move_what_lies_on_the_margin(margin: float, noise: float) -> None:
    """On the margin exactly, with times near 25 epochs that hardly vary. With the epochs as they are, nearly all tables
    are refuted without noise at a margin of 0.5.
    """
    rng, found, tables = np.random.default_rng(0), np.zeros(2), 60
    for _ in range(tables):
        ease = rng.normal(np.log(25), 0.1, 12)
        baseline, candidate = (np.ceil(m * np.exp(ease + rng.normal(0, noise, 12))) for m in (1.0, margin))
        arms = [Sample(x, x, x) for x in (baseline, candidate)]
        e = compare("first", margin, "cell", "block", arms[0], arms[1], 1001.0, width=1.0)
        found += np.array(permutation.sign_flip(e.differences, rng)) <= 0.05
    assert found.max() <= 7  # 3 on average at the level; more than 7 with a probability of 1 %


@pytest.mark.parametrize("test", ["reached", "below", "collapsed"])
def test_more_supports_a_claim_of_more(test: str) -> None:
    arms = [Sample(np.ones(3), np.ones(3), np.array(v, float)) for v in ([0, 1, 5], [1, 1, 2])]
    e = compare(test, 1.0, "cell", "block", arms[0], arms[1], 101)
    assert e.differences == pytest.approx(np.arcsinh([0, 1, 5]) - np.arcsinh([1, 1, 2]))


def test_a_run_that_never_crossed_says_nothing_of_falling_back() -> None:
    asked = dataclasses.replace(claim((ADD,), 3), test="below")
    runs = runs_of(asked, {ADD: ([100, 100, None], [100, None, 100])})
    records = {run.digest: record for run, _, record in runs}
    for run, label, record in runs:
        if record.time.epoch and label == "muon":
            records[run.digest] = dataclasses.replace(record, time=dataclasses.replace(record.time, below=7))
    (e,) = gather(asked, [ADD], records).ended
    assert e.differences == pytest.approx([-np.arcsinh(7), 0, 0])


def sequential_claim(replicas: int, cells: tuple = (ADD,)) -> Claim:
    return dataclasses.replace(claim(cells, replicas), sequential=True)


def of_length(times: Times, count: int) -> Times:
    """The same pairs over and over."""
    return tuple([arm[i % len(arm)] for i in range(count)] for arm in times)


def wanted(asked: Claim, cells: Sequence[Cell], records: Records, place: Cell | None) -> set[tuple[str, int]]:
    """The runs that are missing, as task, softmax and replica."""
    found = gather(asked, cells, records, pooled=place is None)
    return {(f"{run.task.name}-{run.softmax}", run.replica) for run in found.missing.get(place, ())}


def test_a_cell_that_is_decided_asks_for_no_more() -> None:
    asked = sequential_claim(16)
    assert wanted(asked, [ADD], {}, ADD) == {("add-softmax", r) for r in range(sequential.FIRST)}
    records = records_of(asked, {ADD: of_length(EARLIER, 6)})
    assert not gather(asked, [ADD], records).missing
    (v,) = judge(asked, [ADD], records)
    assert (v.status, v.pairs, v.question.sequential) == (Status.SUPPORTED, 6, True)
    assert v.p == pytest.approx(sequential.p_value([-np.log(2)] * 6))
    assert v.ratio == pytest.approx(0.5, abs=1e-4)
    assert v.interval
    assert v.interval[0] < 0.5 < v.interval[1] < 1


def test_more_records_than_the_rule_asks_for_change_nothing() -> None:
    asked = sequential_claim(16)
    few, many = (records_of(asked, {ADD: of_length(EARLIER, n)}) for n in (6, 16))
    assert judge(asked, [ADD], few) == judge(asked, [ADD], many)
    assert len(gather(asked, [ADD], many).used) == 12


WAVERING: Times = (SIX, [150, 260, 190, 300, 205, 360])


def test_an_undecided_cell_goes_on_pair_by_pair() -> None:
    asked = sequential_claim(16)
    for count in (6, 7, 8):
        records = records_of(asked, {ADD: of_length(WAVERING, count)})
        assert wanted(asked, [ADD], records, ADD) == {("add-softmax", count)}
        found = gather(asked, [ADD], records)
        assert {run.replica for run in found.ahead[ADD]} == set(range(count, count + 3))
        assert not found.ended
    leaning: Times = (SIX, [100, 110, 120, 130, 250, 600])
    (w,) = judge(sequential_claim(6), [ADD], records_of(asked, {ADD: leaning}))
    assert w.more
    assert w.reason.endswith(f"about {w.more} more would decide")


def test_a_cell_that_no_outcome_could_decide_stops() -> None:
    asked = sequential_claim(8)
    records = records_of(asked, {ADD: of_length(MIXED, 6)})
    assert not gather(asked, [ADD], records).missing
    (v,) = judge(asked, [ADD], records)
    assert (v.status, v.pairs, v.futile) == (Status.INCONCLUSIVE, 6, True)
    assert "no outcome of the other pairs that were allowed could decide it" in v.reason
    assert v.more is None
    assert v.reason.endswith("; over 400 more would be needed")


def test_cells_are_looked_at_after_the_same_pairs_so_that_their_evidence_adds_up() -> None:
    asked = sequential_claim(16, FOUR)
    strong = {cell: of_length(EARLIER, 6) for cell in FOUR[1:]}
    records = records_of(asked, strong)
    assert wanted(asked, FOUR, records, FOUR[1]) == {("add-softmax", r) for r in range(6)}, "it waits for the other"
    all_of_them = records_of(asked, {**strong, FOUR[0]: of_length(EARLIER, 6)})
    assert not gather(asked, FOUR, all_of_them).missing
    alone = judge(asked, FOUR[:1], all_of_them, family=4)
    assert [v.status for v in judge(asked, FOUR, all_of_them)] == [Status.SUPPORTED] * 4
    assert alone == [], "one of four cells, asked about alone, needs more"
    assert wanted(dataclasses.replace(asked, family=4), FOUR[:1], all_of_them, FOUR[0]) == {("add-softmax", 6)}


def test_a_pool_takes_the_same_replicas_in_every_cell_until_it_is_decided_itself() -> None:
    """One cell is decided at once; it is trained on for as long as the pool needs it."""
    cells = FOUR[1:3]
    asked = dataclasses.replace(sequential_claim(16), cells=cells)
    later = SIX, [int((1.3 if i % 2 else 2.0) * time) for i, time in enumerate(SIX)]
    times = {cells[0]: of_length(EARLIER, 6), cells[1]: of_length(later, 6)}
    assert wanted(asked, cells, records_of(asked, times), None) == {("add-sparsemax", 6), ("gcd-softmax", 6)}
    times = {cells[0]: of_length(EARLIER, 16), cells[1]: of_length(later, 16)}
    v = pool(asked, cells, records_of(asked, times))
    assert v is not None
    n = v.pairs // 2
    assert n > 6
    logs = [np.log(np.array(c[:n], float)) - np.log(np.array(b[:n], float)) for b, c in times.values()]
    assert v.p == pytest.approx(sequential.p_value(np.mean(logs, axis=0)))
    assert v.status is Status.SUPPORTED


def tuned() -> Claim:
    return dataclasses.replace(claim((ADD,), 6), grid=CI.grid, protocol="tuned")


def test_tuning_takes_the_earliest_setting_and_judges_it_on_other_replicas() -> None:
    asked = tuned()
    wanted = list(gather(asked, [ADD], {}).missing[ADD])
    settings = {arm.label: CI.grid.settings(arm.optimizer) for arm in asked.arms}
    assert len(settings["adamw"]) == len(settings["muon"]) == 9
    assert len(wanted) == 2 * 9 * 2
    assert {run.replica for run in wanted} == set(CI.grid.replicas)
    records = {}
    (template,) = [r for _, _, r in runs_of(claim((ADD,), 1), {ADD: ((100,), (50,))})][:1]
    for run in wanted:
        best = run.optimizer in (settings["adamw"][4], settings["muon"][7])
        time = dataclasses.replace(template.time, first=20 if best else 300)
        records[run.digest] = dataclasses.replace(template, digest=run.digest, time=time)
    judged = list(gather(asked, [ADD], records).missing[ADD])
    assert {run.optimizer for run in judged} == {settings["adamw"][4], settings["muon"][7]}
    assert {run.replica for run in judged} == set(range(6))
    for run in judged:
        records[run.digest] = dataclasses.replace(template, digest=run.digest)
    (v,) = judge(asked, [ADD], records)
    assert v.settings == (str(settings["adamw"][4]), str(settings["muon"][7]))
    assert v.pairs == 6
    assert len(gather(asked, [ADD], records).used) == 36 + 12


def test_equal_settings_are_told_apart_by_their_place_in_the_grid() -> None:
    asked = tuned()
    (template,) = [r for _, _, r in runs_of(claim((ADD,), 1), {ADD: ((100,), (50,))})][:1]
    records = {
        run.digest: dataclasses.replace(template, digest=run.digest)
        for run in list(gather(asked, [ADD], {}).missing[ADD])
    }
    arm = evidence.chosen(asked, ADD, asked.baseline, records)
    assert arm
    assert (arm.optimizer["lr"], arm.optimizer["weight_decay"]) == (CI.grid.lr[0], CI.grid.weight_decay[0])
