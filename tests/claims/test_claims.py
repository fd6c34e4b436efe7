"""The claims of each paper: what they compare, and that their arms differ in nothing else."""

from __future__ import annotations

import dataclasses

import pytest

from grokbench.claims import Audit, Claim
from grokbench.claims.papers import tveit2025
from grokbench.options import Options
from grokbench.session import ALL_PAPERS, PAPERS, cases
from grokbench.spec import UsageError
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.verdict import Status, pool

EVERY = tuple(dict.fromkeys(case.claim for case in cases(Options(claims=ALL_PAPERS))))


@pytest.mark.parametrize("claim", [c for c in EVERY if isinstance(c, Claim)], ids=lambda claim: claim.name)
def test_arms_differ_only_in_what_is_compared(claim):
    for cell in claim.cells:
        pairs = zip(*(claim.runs(cell, arm) for arm in claim.arms), strict=True)
        for baseline, candidate in pairs:
            assert baseline.key == candidate.key, "another random stream"
            changed = {
                f.name for f in dataclasses.fields(baseline) if getattr(baseline, f.name) != getattr(candidate, f.name)
            }
            assert changed in ({"optimizer"}, {"softmax"})
            if "optimizer" in changed:
                settings = [
                    dict(run.optimizer.hyperparameters) | {"filter": run.optimizer.filter}
                    for run in (baseline, candidate)
                ]
                if baseline.optimizer.name == candidate.optimizer.name:
                    assert sum(settings[0][k] != settings[1][k] for k in settings[0]) == 1


@pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.name)
def test_every_claim_says_what_it_tests_and_where_it_comes_from(claim):
    assert claim.test in ENDPOINTS
    assert claim.statement
    assert claim.source
    assert claim.scope or not claim.cells
    assert claim.margin == 1 or ENDPOINTS[claim.test].timed
    assert claim.places


def test_every_paper_has_claims_of_its_own_name():
    for paper in PAPERS:
        own = dict.fromkeys(case.claim for case in cases(Options(claims=(paper,))))
        assert own
        assert all(claim.name.startswith(paper) for claim in own)
        assert not any(claim.asserted for claim in own)


def test_selecting_tasks_selects_claims():
    names = {case.claim.name for case in cases(Options(claims=("wang2026",), tasks=("sub",)))}
    assert names == {"wang2026-subtraction-inverts"}
    with pytest.raises(UsageError, match="janati2026 claim nothing of the tasks and softmaxes that were chosen"):
        cases(Options(claims=("janati2026",), tasks=("gcd",)))


def test_a_preset_without_the_task_is_refused():
    with pytest.raises(UsageError, match="this claim needs sub under softmax, which the preset smoke does not have"):
        cases(Options("smoke", claims=("wang2026",)))


def test_arms_that_no_claim_would_use_are_refused():
    for chosen in ({"optimizers": ("adamw", "sgd")}, {"protocols": ("matched",)}):
        with pytest.raises(UsageError, match="lee2024 name their own arms and protocol: leave out --optimizer"):
            cases(Options(claims=("lee2024",), **chosen))


def test_an_unknown_paper_is_refused():
    with pytest.raises(UsageError, match="unknown paper 'knuth1968': choose from tveit2025, wang2026"):
        cases(Options(claims=("knuth1968",)))


def test_the_audit_needs_no_runs():
    (audit,) = [claim for claim in EVERY if isinstance(claim, Audit)]
    v = pool(audit)
    assert v is not None
    assert v.status is Status.REFUTED
    assert not v.question.asserted
    assert v.reason == (
        "t = 5.0175 gives a two-sided p of at least 5.2e-07 for any degrees of freedom; "
        "p = 6.33e-08 needs |t| of at least 5.41"
    )
    possible = dataclasses.replace(audit, reported=(5.0175, 6e-7))
    assert pool(possible).status is Status.INCONCLUSIVE


def test_secondary_claims_take_the_same_pairs_of_every_cell_whatever_the_data():
    claims = {c.name: c for c in EVERY}
    for name in ("muon-tighter", "softmax-secondary"):
        assert (claims[name].replicas, claims[name].sequential) == (tveit2025.PAIRS, False)
