"""An optimizer from another source tree: one process, in which its name means that tree's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from grokbench import cli
from grokbench.spec import MachineError, UsageError, registry
from grokbench.training import checkout as checkouts
from grokbench.training.checkout import Checkout

ONE = ["--preset", "tiny", "--task", "add", "--softmax", "softmax"]
BOTH = ["--baseline", "mine:Mine", "--candidate", "mine:Mine", "--candidate-path"]


@pytest.mark.usefixtures("trees")
def test_a_process_of_its_own_imports_from_the_tree():
    tree = Checkout(Path("../broken"))
    try:
        spec = tree.parse("mine:Mine(lr=0.25)", {})
        assert (spec.name, spec["lr"]) == ("mine:Mine", 0.25)
        assert tree.call(registry.target, "mine:Mine") == "mine:Mine"
        with pytest.raises(UsageError, match=r"'torch.optim:SGD' is imported from .*, not from .*broken"):
            tree.parse("torch.optim:SGD", {})
        with pytest.raises(UsageError, match="muon is built in: --candidate-path is for optimizers of your own"):
            tree.parse("muon", {})
        with pytest.raises(UsageError, match="cannot import the optimizer 'test_checkout:Mine'"):
            tree.parse("test_checkout:Mine", {})
        with pytest.raises(MachineError, match=r"^OSError: \[Errno 28\] No space left on device$"):
            tree.call(_fail)
        with pytest.raises(RuntimeError, match="ZeroDivisionError: 1/0"):
            tree.call(_err)
        with pytest.raises(MachineError, match=r"the optimizer from .*broken ended with exit code 3"):
            tree.call(_end)
    finally:
        tree.close()


def _fail() -> None:
    raise OSError(28, "No space left on device")


def _err() -> None:
    raise ZeroDivisionError("1/0")


def _end() -> None:
    os._exit(3)


def test_a_tree_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="there is no folder nowhere to import the candidate from"):
        Checkout(Path("nowhere"))


class Fake:
    """A tree in this process, under another name: `mine` of the folder is imported as `theirs`."""

    def __init__(self, folder):
        self.folder = folder

    def call(self, function, *arguments):
        return function(*arguments)

    def parse(self, text, presets):
        return checkouts.parse(text.replace("mine:", "theirs:") if self.folder else text, presets, None)

    golden, train = Checkout.golden, Checkout.train

    def close(self):
        pass


@pytest.fixture
def fake(trees, tiny, monkeypatch, tmp_path):
    for folder in ("same", "broken"):
        source = (tmp_path / folder / "mine.py").read_text()
        helper = (tmp_path / folder / "helper.py").read_text()
        (tmp_path / folder / "theirs.py").write_text(source.replace("from helper import SIGN", helper))
    monkeypatch.syspath_prepend(str(tmp_path / "broken"))
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    monkeypatch.setattr("grokbench.gates.gate.Checkout", Fake)
    monkeypatch.setattr("grokbench.perf.timing.Checkout", Fake)


@pytest.mark.slow
@pytest.mark.usefixtures("fake")
def test_a_gate_trains_the_candidate_there(capsys):
    assert cli.main(["gate", *ONE, *BOTH, "../broken"]) == 1
    out, err = capsys.readouterr()
    assert "fewer runs grok, 0 instead of 8" in out
    assert "the candidate from ../broken trains in a process of its own" in err


@pytest.mark.usefixtures("fake")
def test_a_race_runs_each_arm_in_its_own(capsys):
    race = ["perf", "--preset", "tiny", "--replicas", "1", "--seconds", "0.01", "--margin", "10"]
    assert cli.main([*race, *BOTH, "../broken"]) == 0
    assert "mine:Mine from ../broken against mine:Mine" in capsys.readouterr().out
