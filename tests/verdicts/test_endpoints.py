"""An endpoint is one object: it is found by its name, and nothing else knows of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from judged import ADD, LATER, claim, judge, records_of

from grokbench.claims import Audit, Comparison
from grokbench.report import export, terminal
from grokbench.verdicts import endpoints, verdict
from grokbench.verdicts.evidence import compare
from grokbench.verdicts.pairs import Evidence, Sample
from grokbench.verdicts.verdict import Status, pool


def test_a_new_endpoint_is_one_new_object(monkeypatch):
    """Epochs that were trained, as if more of them were better."""
    longer = endpoints.Count("epochs", "it trains for longer", lambda record: float(record.time.epochs))
    monkeypatch.setitem(endpoints.ENDPOINTS, "epochs", longer)
    question = dataclasses.replace(claim(), test="epochs")
    (v,) = judge(question, [ADD], records_of(question, {ADD: LATER}))
    assert v.status is Status.SUPPORTED
    assert v.median == {"adamw": 135.0, "muon": 260.0}
    assert v.ratio is None
    assert v.reason == "muon more often than adamw: adamw 135, muon 260, adjusted p 0.016"
    assert "muon more often" not in terminal.tables([v], 112)
    assert export.document([v], ())["verdicts"][0]["test"] == "epochs"


@pytest.mark.parametrize("name", endpoints.ENDPOINTS)
def test_every_endpoint_says_what_it_means(name):
    endpoint = endpoints.ENDPOINTS[name]
    assert endpoint.name == name
    assert endpoint.meaning


def evidence_of(block: int, softmax: str, logs: Sequence[float]) -> Evidence:
    """A cell with these log ratios, no run censored."""
    arms = [Sample(times, times, times) for times in (np.full(len(logs), 100.0), 100 * np.exp(logs))]
    return compare("first", 1.0, f"{block}-{softmax}", block, arms[0], arms[1], 10_000.0)


def asked(test: str = "first", **rule: Any) -> Comparison:
    return Comparison("", "", "", ("adamw", "muon"), test=test, **rule)


@pytest.mark.parametrize(
    ("effects", "p", "p_reverse"),
    [
        ((-1, -1), 2 / 32, 1.0),  # the mean may have either sign
        ((1, 1, 1), 2 / 32, 1.0),
        ((-1, 1), 1.0, 2 / 32),  # either of two ordered pairs may differ by more than the mean
        ((-1, 0, 1), 1.0, 6 / 32),
    ],
)
def test_an_interaction_is_corrected_for_all_that_it_looks_at(effects, p, p_reverse):
    """With five replicas, in all of which the effects under the softmaxes are these."""
    cells = [evidence_of(0, str(softmax), [effect] * 5) for softmax, effect in enumerate(effects)]
    found = endpoints.ENDPOINTS["interaction"].test(asked("interaction"), cells, np.random.default_rng(0))
    assert found[:2] == (p, p_reverse)


def test_the_smaller_p_decides_where_both_sides_were_ever_significant():
    """Pairs that are looked at one by one keep the best p of either side."""
    turned = [-0.5] * 8 + [0.5] * 80
    for logs, status in ((turned, Status.REFUTED), ([-x for x in turned], Status.SUPPORTED)):
        v = pool(asked(sequential=True), [evidence_of(0, "softmax", logs)])
        assert max(v.p, v.p_reverse) <= v.level
        assert v.status is status


@pytest.mark.parametrize("sequential", [False, True])
def test_as_many_pairs_are_needed_on_either_side(sequential):
    leaning = [-0.5, -0.3, 0.2, -0.4]
    more = {
        verdict.judge(asked(sequential=sequential), [evidence_of(0, "softmax", logs)], 1)[0].more
        for logs in (leaning, [-x for x in leaning])
    }
    assert len(more) == 1
    assert more != {None}


def test_an_audit_names_its_endpoint_itself():
    possible, not_so = (Audit("a", "t and p", "a paper", reported=(5.0, p)) for p in (1e-6, 1e-7))
    assert (pool(possible).status, pool(not_so).status) == (Status.INCONCLUSIVE, Status.REFUTED)
    assert pool(not_so).reason.startswith("t = 5.0 gives a two-sided p of at least 5.7e-07")


def test_spread_is_told_by_cells_in_which_every_run_groks():
    asked = dataclasses.replace(claim((ADD,), 6), test="spread")
    early, late = [100, 150, 200, 210, 220, 230], [180, 190, 200, 210, 220, 230]
    for candidate, told in ((late, 1), ([*late[:5], None], 0)):
        (v,) = judge(asked, [ADD], records_of(asked, {ADD: (early, candidate)}))
        assert f"told by {told} of 1 cells" in v.note
        assert (v.ratio is None) == (not told)
