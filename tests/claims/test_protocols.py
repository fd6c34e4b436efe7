"""What the protocols make of the arms."""

from __future__ import annotations

import pytest

from grokbench.claims import presets
from grokbench.claims.protocols import Grid, match
from grokbench.options import Options
from grokbench.session import cases
from grokbench.spec import UsageError
from grokbench.spec.registry import parse


@pytest.mark.parametrize("preset", ["ci", "paper"])
def test_matched_arms_decay_at_the_baselines_rate_everywhere(preset):
    settings = presets.get(preset).optimizers
    adamw, muon = parse("adamw", settings), match(parse("adamw", settings), parse("muon", settings))
    rate = adamw["lr"] * adamw["weight_decay"]
    assert muon["lr"] * muon["weight_decay"] == pytest.approx(rate, rel=1e-5)
    assert muon["adamw_lr"] * muon["adamw_weight_decay"] == pytest.approx(rate, rel=1e-5)
    kept = {"lr", "adamw_lr", "momentum", "betas"}
    original = parse("muon", settings)
    assert all(muon[name] == original[name] for name in kept)


def test_a_plug_in_is_matched_by_what_it_was_called_with():
    matched = match(parse("adamw(lr=0.01, weight_decay=0.5)"), parse("torch.optim:AdamW(lr=0.02, weight_decay=9.0)"))
    assert matched["weight_decay"] == 0.25


@pytest.mark.parametrize(
    ("candidate", "message"),
    [
        ("torch.optim:Rprop", "the protocol matched needs weight_decay in the parentheses of torch.optim:Rprop"),
        ("adamw(lr=0.0)", "the protocol matched needs a rate above 0"),
        ("muon(adamw_lr=0.0)", "the protocol matched needs an adamw_lr above 0"),
    ],
)
def test_what_cannot_be_matched_is_refused(candidate, message):
    with pytest.raises(UsageError, match=message):
        match(parse("adamw"), parse(candidate))


def test_a_grid_holds_every_rate_with_every_decay():
    settings = Grid((0.1, 0.2), (0.0, 1.0, 3.0), (0,)).settings(parse("adamw"))
    assert [(s["lr"], s["weight_decay"]) for s in settings] == [
        (0.1, 0.0), (0.1, 1.0), (0.1, 3.0), (0.2, 0.0), (0.2, 1.0), (0.2, 3.0),
    ]  # fmt: skip


def test_every_protocol_asks_the_same_of_the_same_cells():
    chosen = Options(protocols=("published", "matched", "tuned"))
    claims = dict.fromkeys(case.claim for case in cases(chosen))
    assert [c.name for c in claims] == [
        "muon-before-adamw", "muon-before-adamw-matched", "muon-before-adamw-tuned",
    ]  # fmt: skip
    assert len({c.cells for c in claims}) == 1
    assert len({c.baseline for c in claims}) == 1
    assert [c.grid is not None for c in claims] == [False, False, True]
    assert [c.asserted for c in claims] == [True, False, False]


def test_tuning_replicas_serve_no_verdict():
    for preset in presets.PRESETS.values():
        assert min(preset.grid.replicas) >= preset.replicas


def test_an_unknown_protocol_is_refused():
    with pytest.raises(UsageError, match="unknown protocol 'fair': choose from published, matched, tuned"):
        cases(Options(protocols=("fair",)))
