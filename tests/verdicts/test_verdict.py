"""Claim + records -> verdicts, and what reports make of them."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judged import (
    ADD,
    BUDGET,
    DIVERGED,
    EARLIER,
    FOUR,
    LATER,
    MACHINE,
    MIXED,
    NEARLY,
    SIX,
    Times,
    claim,
    judge,
    pool,
    records_of,
    runs_of,
)

from grokbench.claims import Arm, Cell
from grokbench.records.store import Record
from grokbench.report import export, layout, terminal
from grokbench.spec import RunSpec, UsageError
from grokbench.verdicts import verdict
from grokbench.verdicts.evidence import gather
from grokbench.verdicts.verdict import Status, Verdict


def judged(times: Times) -> Verdict:
    asked = claim(replicas=len(times[0]))
    (only,) = judge(asked, [ADD], records_of(asked, {ADD: times}))
    return only


def test_supported() -> None:
    v = judged(EARLIER)
    assert v.status is Status.SUPPORTED
    assert (v.p, v.p_reverse, v.p_adjusted, v.p_reverse_adjusted) == (1 / 64, 1.0, 1 / 64, 1.0)
    assert v.ratio == pytest.approx(0.5)
    assert v.interval == (0, float("inf"))  # pairs that are all alike do not tell how they vary
    assert (v.pairs, v.cells, v.level) == (6, 1, 0.05)
    assert v.grokked == {"adamw": 6, "muon": 6}
    assert v.median == {"adamw": 250, "muon": 125}
    assert v.id == "muon-before-adamw[add-softmax]"
    assert v.reason == "muon is earlier: time ratio 0.50, adjusted p 0.016"


def test_refuted() -> None:
    v = judged(LATER)
    assert v.status is Status.REFUTED
    assert (v.p, v.p_reverse) == (1.0, 1 / 64)
    assert v.reason == "muon is later: time ratio 2.00, adjusted p 0.016"


def test_inconclusive() -> None:
    v = judged(MIXED)
    assert v.status is Status.INCONCLUSIVE
    assert min(v.p, v.p_reverse) > v.level
    smallest = min(v.p_adjusted, v.p_reverse_adjusted)
    assert (
        v.reason
        == f"time ratio {v.ratio:.2f}, adjusted p {smallest:.2g} > 0.05 with 6 pairs; over 400 more would be needed"
    )


def test_arms_that_are_the_same_are_refused() -> None:
    with pytest.raises(UsageError, match=r"both arms are adamw.*: name two different optimizers"):
        dataclasses.replace(claim(), candidate=Arm("other", claim().baseline.optimizer))


def test_pairs_of_which_neither_grokked_are_ties() -> None:
    v = judged(([None] * 6, [None] * 6))
    assert (v.status, v.p, v.p_reverse, v.ratio, v.interval) == (Status.INCONCLUSIVE, 1.0, 1.0, None, None)
    assert v.grokked == {"adamw": 0, "muon": 0}
    assert v.median == {"adamw": None, "muon": None}
    # Ties take nothing from the pairs that do decide.
    mixed = judged(([*SIX, None, None], [*EARLIER[1], None, None]))
    assert (mixed.status, mixed.p, mixed.pairs) == (Status.SUPPORTED, 1 / 64, 8)


def test_a_run_that_did_not_grok_loses_to_one_that_did() -> None:
    v = judged((SIX, [None] * 6))
    assert (v.status, v.p_reverse, v.ratio) == (Status.REFUTED, 1 / 64, pytest.approx((BUDGET + 1) / 250))
    assert (v.grokked, v.median) == ({"adamw": 6, "muon": 0}, {"adamw": 250, "muon": None})
    assert judged(([None] * 6, SIX)).status is Status.SUPPORTED


def test_a_run_that_grokked_in_the_last_epoch_beats_one_that_did_not() -> None:
    assert judged(([None] * 6, [BUDGET] * 6)).status is Status.SUPPORTED


def test_a_ratio_of_means_that_contradicts_the_verdict_is_explained() -> None:
    v = judged(([100] * 12, [25] * 11 + [None]))
    assert (v.status, v.ratio > 1) == (Status.SUPPORTED, True)
    assert v.reason.endswith("but a few late or missing times turn the ratio of the means")
    assert "turn the ratio" not in judged(([100] * 12, [25] * 12)).reason


def test_a_diverged_run_did_not_grok_whatever_it_had_reached() -> None:
    diverged, censored = judged((SIX, [DIVERGED] * 5 + [100])), judged((SIX, [None] * 5 + [100]))
    assert diverged == censored
    assert diverged.grokked["muon"] == 1


def test_holm_goes_over_the_family() -> None:
    asked = claim(FOUR)
    records = records_of(asked, dict.fromkeys(FOUR, EARLIER))
    for size, status in ((1, "supported"), (2, "supported"), (3, "supported"), (4, "inconclusive")):
        verdicts = judge(asked, FOUR[:size], records)
        assert [v.cell for v in verdicts] == list(FOUR[:size])
        assert [(v.p, v.p_adjusted, v.status.value) for v in verdicts] == [(1 / 64, size / 64, status)] * size


@pytest.mark.parametrize(("times", "side"), [(EARLIER, "p_adjusted"), (EARLIER[::-1], "p_reverse_adjusted")])
def test_a_pool_is_corrected_for_the_pools_and_comparisons_that_it_is_one_of(times: Times, side: str) -> None:
    """Six pairs that all agree have p = 1/64: of one pool they decide, of four or in four comparisons they do not."""
    asked = claim((ADD,))
    cells = tuple(gather(asked, [ADD], records_of(asked, {ADD: times})).cells.values())
    for pools, comparisons in ((1, 1), (4, 1), (1, 4)):
        v = verdict.pool(dataclasses.replace(asked, comparisons=comparisons), cells, pools)
        assert getattr(v, side) == pools * comparisons / 64
        assert (v.status is Status.INCONCLUSIVE) is (pools * comparisons == 4)


def test_a_rejection_makes_the_next_one_easier() -> None:
    """Which is why a cell whose p lies between the level and the level over the family waits for the others."""
    asked = claim(FOUR)
    records = records_of(asked, {FOUR[0]: NEARLY, FOUR[1]: EARLIER})
    (alone,) = judge(asked, FOUR[:2], records_of(asked, {FOUR[0]: NEARLY}))
    assert (alone.p, alone.p_adjusted, alone.status, alone.decided) == (2 / 64, 4 / 64, Status.INCONCLUSIVE, False)
    both = judge(asked, FOUR[:2], records)
    assert [(v.p, v.p_adjusted, v.decided) for v in both] == [(2 / 64, 2 / 64, True), (1 / 64, 2 / 64, True)]


def test_a_cell_that_is_missing_counts_with_p_1() -> None:
    asked = claim(FOUR)
    (v,) = judge(asked, FOUR[:3], records_of(asked, {FOUR[1]: EARLIER}))
    assert (v.cell, v.p, v.p_adjusted, v.cells) == (FOUR[1], 1 / 64, 3 / 64, 3)
    assert judge(asked, FOUR, {}) == []


EPOCHS = st.sampled_from([None, DIVERGED, 50, 60, 100, 200, 400])
CELL_TIMES = st.tuples(*[st.lists(EPOCHS, min_size=6, max_size=6)] * 2)


@settings(deadline=None, max_examples=40)
@given(
    times=st.lists(st.one_of(CELL_TIMES, st.sampled_from([EARLIER, LATER, NEARLY, MIXED])), min_size=4, max_size=4),
    order=st.permutations(FOUR),
    family=st.integers(1, 4),
)
def test_what_is_decided_stays_decided(times: list[Times], order: list[Cell], family: int) -> None:
    asked = claim(FOUR)
    cells = order[:family]
    answers: dict[Cell | str | None, Status] = {}
    for arrived in range(1, family + 1):
        records = records_of(asked, dict(zip(cells[:arrived], times, strict=False)))
        for v in judge(asked, cells, records):
            assert answers.get(v.cell, v.status) is v.status
            if v.decided or arrived == family:
                answers[v.cell] = v.status
    assert set(answers) == set(cells)


def test_a_pool_waits_for_every_run() -> None:
    asked = claim(FOUR)
    records = records_of(asked, dict.fromkeys(FOUR, EARLIER))
    for digest in (asked.runs(FOUR[0], asked.baseline)[0].digest, asked.runs(FOUR[3], asked.candidate)[5].digest):
        assert pool(asked, FOUR, {d: record for d, record in records.items() if d != digest}) is None
    pooled = pool(asked, FOUR, records)
    assert pooled is not None
    assert (pooled.cell, pooled.id, pooled.pairs) == (None, "muon-before-adamw[pooled]", 24)
    # Two tasks of six replicas: twelve streams, whatever the number of softmaxes.
    assert (pooled.p, pooled.p_adjusted, pooled.status) == (2.0**-12, 2.0**-12, Status.SUPPORTED)
    assert pooled.grokked == {"adamw": 24, "muon": 24}
    assert pooled.ratio == pytest.approx(0.5)


def test_a_softmax_that_repeats_another_is_no_evidence() -> None:
    one, two = FOUR[:2]
    asked = claim(FOUR)
    records = records_of(asked, {one: MIXED, two: MIXED})
    alone, both = pool(asked, [one], records), pool(asked, [one, two], records)
    assert alone is not None
    assert both is not None
    assert (both.p, both.p_reverse) == (alone.p, alone.p_reverse)
    assert (both.pairs, alone.pairs) == (12, 6)


def test_judging_again_gives_the_same_numbers() -> None:
    """Also with so many pairs that signs are sampled, and whatever else is known."""
    rng = np.random.default_rng(0)
    times = {cell: (rng.integers(100, 900, 18).tolist(), rng.integers(100, 900, 18).tolist()) for cell in FOUR[::3]}
    asked = claim(FOUR, replicas=18)
    records = records_of(asked, times)
    reverse = dict(reversed(records.items()))
    both = judge(asked, FOUR, records)
    assert len(both) == 2
    assert judge(asked, FOUR, reverse) == both
    assert pool(asked, FOUR[::3], records) == pool(asked, FOUR[::3], reverse)
    (alone,) = judge(asked, FOUR[3:], records)
    adjusted = ("p_adjusted", "p_reverse_adjusted", "cells", "status", "more", "least")
    assert dataclasses.replace(alone, **{name: getattr(both[1], name) for name in adjusted}) == both[1]


@pytest.mark.parametrize(
    ("replicas", "cells", "least"), [(3, 1, "0.12"), (4, 1, "0.062"), (6, 4, "0.062"), (2, 4, "1")]
)
def test_too_few_pairs_are_named_as_the_reason(replicas: int, cells: int, least: str) -> None:
    asked = claim(FOUR, replicas)
    times = tuple(arm[:replicas] for arm in EARLIER)
    (v, *_) = judge(asked, FOUR[:cells], records_of(asked, {FOUR[0]: times}))  # type: ignore[dict-item]
    assert v.status is Status.INCONCLUSIVE
    assert v.reason == f"{replicas} pairs cannot decide: the smallest possible adjusted p is {least}"


def test_one_pair_cannot_decide() -> None:
    assert judged(([200], [100])).status is Status.INCONCLUSIVE


def reported() -> tuple[list[Verdict], list[tuple[RunSpec, str, Record]]]:
    asked = claim(FOUR)
    times = dict(zip(FOUR, (EARLIER, LATER, MIXED, (SIX, [None] * 5 + [DIVERGED])), strict=True))
    other = dataclasses.replace(MACHINE, device="NVIDIA H200", commit=None, dirty=None)
    runs = runs_of(asked, times, [MACHINE, other])
    records = {run.digest: record for run, _, record in runs}
    pooled = pool(asked, FOUR, records)
    assert pooled is not None
    return [*judge(asked, FOUR, records), pooled], runs


VERDICT_KEYS = {
    "claim", "statement", "source", "scope", "test", "margin", "protocol", "asserted", "anytime_valid", "cell", "arms",
    "status", "reason", "pairs", "ratio", "interval", "p", "p_adjusted", "corrected_over", "comparisons",
    "p_reverse", "p_reverse_adjusted", "logrank", "pairs_of_unlike_arithmetic",
    "grokked", "median", "rate_difference", "rate_interval", "sustained_ratio", "inverted", "more_pairs",
    "stands_from_budget", "stands_for_sustained", "settings",
}  # fmt: skip
RUN_KEYS = {
    "digest", "task", "softmax", "arm", "optimizer", "replica", "outcome", "epochs", "fit", "first", "sustained",
    "below", "diagnostics", "seconds", "provenance",
}  # fmt: skip


def test_the_document_has_the_documented_keys_and_no_nan() -> None:
    verdicts, runs = reported()
    document = json.loads(json.dumps(export.document(verdicts, runs), allow_nan=False))
    assert set(document) == {"verdicts", "runs", "provenance"}
    assert [set(v) for v in document["verdicts"]] == [VERDICT_KEYS] * 5
    assert [set(run) for run in document["runs"]] == [RUN_KEYS] * len(runs)
    assert document["provenance"] == [record.provenance.as_dict() for _, _, record in runs[:2]]
    assert {run["provenance"] for run in document["runs"]} == {0, 1}


def test_the_document_says_what_the_verdicts_say() -> None:
    verdicts, runs = reported()
    document = export.document(verdicts, runs)
    cells = [{"task": cell.task.name, "softmax": cell.softmax} for cell in FOUR]
    assert [v["cell"] for v in document["verdicts"]] == [*cells, None]
    assert [v["status"] for v in document["verdicts"]] == [v.status.value for v in verdicts]
    assert document["verdicts"][3]["median"] == {"adamw": 250, "muon": None}
    assert document["verdicts"][3]["grokked"] == {"adamw": 6, "muon": 0}
    outcomes = [run["outcome"] for run in document["runs"]]
    assert (outcomes.count("grokked"), outcomes.count("censored"), outcomes.count("diverged")) == (42, 5, 1)
    assert len({run["digest"] for run in document["runs"]}) == len(runs) == 48


@pytest.mark.parametrize("width", [layout.WIDTH, 120, 200])
def test_the_table_has_every_cell_and_fits(width: int) -> None:
    verdicts, runs = reported()
    lines = terminal.text(verdicts, runs, width).splitlines()
    assert max(map(len, lines)) <= width
    for v in verdicts:
        words = [v.cell.task.name, v.cell.softmax] if v.cell else ["pooled"]
        (row,) = [line for line in lines if all(word in line.split() for word in [*words, f"{v.ratio:.2f}"])]
        assert v.status.value in row
        assert ("never" in row) == (None in v.median.values())
    assert any("48 runs: 42 grokked, 5 censored, 1 diverged" in line for line in lines)


def test_reasons_are_given_where_a_claim_is_not_supported() -> None:
    verdicts, runs = reported()
    text = terminal.text(verdicts, runs, 100)
    for v in verdicts:
        assert (f"{v.id}: {v.reason}" in text) == (v.status is not Status.SUPPORTED)


def test_records_from_different_machines_are_pointed_out() -> None:
    verdicts, runs = reported()
    warning = "The records come from different machines or versions"
    text = terminal.text(verdicts, runs, 100)
    assert warning in text
    assert "NVIDIA H200" in text
    assert warning not in terminal.text(verdicts, runs[:1], 100)
    assert "\x1b" not in text
    assert "\x1b" in terminal.text(verdicts, runs, 100, color=True)
