"""What acts only after the golden run is over is no PASS: whole runs are compared, bit by bit."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from grokbench import cli, gates
from grokbench.gates import setting as settings
from grokbench.gates.decision import GateOutcome

# All of them are right for the 8 epochs (16 steps) of the golden runs here, and wrong from step 24 on, when no run has
# grokked yet.
SOURCE = """
import torch


class Sound(torch.optim.Optimizer):
    def __init__(self, params, lr=0.5):
        super().__init__(params, dict(lr=lr))
        self.t = 0

    def rate(self, lr):
        return lr

    @torch.no_grad()
    def step(self, closure=None):
        self.t += 1
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=-self.rate(group["lr"]))


class Tidied(Sound):
    pass


class EndOfWarmup(Sound):  # the rate of the first step again
    def rate(self, lr):
        return lr if self.t <= 24 else 0.0


class Counter(Sound):  # a counter that stops
    def rate(self, lr):
        self.seen = torch.tensor(min(self.t, 24), dtype=torch.bfloat16)
        return lr * float(self.seen) / self.t


class EveryFew(Sound):  # what acts in every 24th step, and never before
    def rate(self, lr):
        return lr if self.t % 24 else -20 * lr


class EndOfDecay(Sound):  # a schedule whose last steps are of its first rate again, a hundred times
    def rate(self, lr):
        return lr if self.t <= 24 else 100 * lr


class Reset(Sound):  # a buffer that begins anew, here with the weights
    def step(self, closure=None):
        super().step(closure)
        if self.t == 24:
            for group in self.param_groups:
                for p in group["params"]:
                    p.data.zero_()
"""


@pytest.fixture(autouse=True)
def _a_package(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("latecomers.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "latecomers", raising=False)
    monkeypatch.setattr(settings, "EPOCHS", 8)
    for module in ("gate", "baseline"):
        monkeypatch.setattr(f"grokbench.gates.{module}.EPOCHS", 8)


def ask(name, baseline="latecomers:Sound", **more):
    fields = {"store": Path("s.sqlite"), "preset": "tiny", "tasks": ("add",), "softmaxes": ("softmax",), **more}
    return gates.run(gates.Request(baseline, f"latecomers:{name}", **fields))


@pytest.mark.parametrize("fault", ["EndOfWarmup", "Counter", "EveryFew", "EndOfDecay", "Reset"])
def test_a_fault_after_the_golden_run_is_no_pass(fault):
    found = ask(fault, max_pairs=2)
    assert found.differs == 0  # which was called a PASS
    assert found.outcome in (GateOutcome.REGRESSION, GateOutcome.INCONCLUSIVE)
    assert not found.identical


def test_whole_runs_that_are_equal_are_a_pass():
    found = ask("Tidied")
    assert (found.outcome, found.reason) == (GateOutcome.PASS, "bit-identical to the baseline over 2 whole runs")
    assert len(found.records) == 4


def test_a_baseline_file_and_a_store_are_as_strict():
    asked = ["--preset", "tiny", "--task", "add", "--softmax", "softmax", "--store", "b.sqlite"]
    cli.main(["baseline", "save", "b.json", *asked, "--optimizer", "latecomers:Sound", "--pairs", "2"])
    for baseline in ("b.json", "b.sqlite"):
        assert ask("Tidied", baseline).identical
        assert not ask("EndOfWarmup", baseline, max_pairs=2).passed


@pytest.mark.slow
def test_the_runs_of_a_baseline_do_not_answer_for_a_candidate_of_the_same_name(monkeypatch):
    """What changes late and out of sight keeps fingerprint and golden run, so only training anew can tell."""
    asked = ["--preset", "tiny", "--task", "add", "--softmax", "softmax", "--store", "s.sqlite"]
    cli.main(["baseline", "save", "b.json", *asked, "--optimizer", "latecomers:Sound", "--pairs", "2"])
    import latecomers

    assert ask("Sound", "b.json").identical
    monkeypatch.setattr(latecomers.Sound, "rate", latecomers.EndOfWarmup.rate)
    found = ask("Sound", "b.json")
    assert (found.differs, found.passed) == (0, False)


def test_nothing_that_groks_has_no_ratio():
    found = ask("Sound(lr=0.0)", "latecomers:Sound(lr=1e-9)", max_pairs=2)
    assert found.outcome is GateOutcome.INCONCLUSIVE
    assert found.reason == "no run of either arm grokked within 60 epochs: raise --budget"
    assert found.decision.ratio is None
