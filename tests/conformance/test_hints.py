"""What `check` says beside its findings: expected failures, hints, another optimizer's steps, and what is printed."""

from __future__ import annotations

import sys

import pytest
import torch
from plugins import Base

from grokbench import cli
from grokbench.cli import prints
from grokbench.conformance import CheckOutcome, examine, expectations, like
from grokbench.conformance.outcome import in_a_line
from grokbench.spec import UsageError, registry


class Excused(Base):
    """Has a fault that is known, and one that is gone."""

    grokbench_expected = {"finite": "it is for gradients that are never zero"}  # noqa: RUF012

    def change(self, p, lr):
        sys.stdout.write("a notice\n")
        p.sub_(p.grad / p.grad.norm() * lr)


class Own(Base):
    """Keeps its rate, so a warm-up does not reach it."""

    def change(self, p, lr):
        p.sub_(p.grad * 0.1)


class Named(Base):
    """Wants names beside its parameters."""

    def __init__(self, params, lr=0.1):
        params = list(params)
        assert isinstance(params[0], tuple)
        super().__init__([p for _, p in params], lr)


class Bare(Base):
    """Of matrices alone, and says so by nothing but an assertion."""

    def change(self, p, lr):
        assert p.ndim == 2
        super().change(p, lr)


def test_an_expected_failure_is_one_no_more_and_one_that_passes_is_said():
    spec = registry.parse("test_hints:Excused")
    expected = expectations(spec, {"closure": "none is given"})
    known = examine(spec, "finite", expected, alone=True)
    assert known.outcome is CheckOutcome.EXPECTED
    assert known.text.startswith("expected, since it is for gradients that are never zero: zero gradients make")
    gone = examine(spec, "closure", expected, alone=True)
    assert gone.outcome is CheckOutcome.BREAKS
    assert gone.text.startswith("expected to break, since none is given, and it does not: said, a closure is never")
    with pytest.raises(UsageError, match="unknown check 'closures': choose from runs, "):
        expectations(spec, {"closures": "?"})


@pytest.mark.parametrize(
    ("optimizer", "hint"),
    [
        ("torch.optim:LBFGS", "grokbench never gives a closure"),
        ("test_hints:Bare", "with parameters='matrices' it trains"),
        ("test_hints:Named", "it wants names: write a factory"),
        ("test_hints:Own(warmup=5)", "keeps a rate of its own, whatever its parameter groups say: warmup=5"),
    ],
)
def test_what_cannot_train_gets_a_hint(optimizer, hint):
    assert hint in examine(registry.parse(optimizer), "runs", alone=True).text


def test_a_check_that_rests_on_another_is_skipped_with_it():
    spec = registry.parse("test_conformance:Remembers")
    assert examine(spec, "state_dict").text == "deterministic breaks, on which this rests"


def test_an_optimizer_is_compared_with_another_step_by_step():
    adam, adamw = (registry.parse(f"torch.optim:{name}(weight_decay=0.1)") for name in ("Adam", "AdamW"))
    assert like(adam, registry.parse("torch.optim:Adam"), frozenset()).text.startswith("as torch.optim:Adam over 100")
    other = like(adam, adamw, frozenset())
    assert other.outcome is CheckOutcome.BREAKS
    assert other.text.startswith("from step 1 on other weights than torch.optim:AdamW, by ")
    assert "torch.optim:Adam takes the steps of Adam, coupled decay; " in other.text


def test_what_optimizers_print_is_cut_short_on_standard_error(capsys):
    with prints.kept() as lines:
        for i in range(200):
            sys.stdout.write(f"a notice {i % 7}\n")
    prints.tell(lines, "x:Y")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 6
    assert err.endswith("x:Y prints 200 lines in all\n")


@pytest.mark.parametrize("text", ["finite", "=why", "finite= "])
def test_an_expectation_needs_a_reason(text, capsys):
    assert cli.main(["check", "adamw", "--expect", text]) == 2
    assert "--expect takes CHECK=REASON" in capsys.readouterr().err


class Rows(Base):
    """Has a row of rows among its settings, as coefficients of Newton–Schulz are."""

    def __init__(self, params, lr=0.1, coefficients=((1.0, 2.0), (0.5, 3.0))):
        super().__init__(params, lr)
        self.param_groups[0]["coefficients"] = coefficients

    def change(self, p, lr):
        p.sub_(p.grad, alpha=lr * self.param_groups[0]["coefficients"][1][0])


def test_a_row_of_rows_is_a_setting():
    seen = examine(registry.parse("test_hints:Rows"), "groups", alone=True)
    assert seen.outcome is CheckOutcome.HOLDS


def test_an_error_of_torch_is_told_without_its_signatures():
    with pytest.raises(TypeError) as raised:
        torch.zeros(1).lerp_(None, 0.5)
    assert "expected one of" in str(raised.value)
    assert in_a_line(raised.value) == "lerp_() received an invalid combination of arguments"
