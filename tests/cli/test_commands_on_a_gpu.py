"""Commands that train, once each on a pretended GPU: what they say, and that the GPU did the work."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest
import tiny as tiny_preset
from pretend_cuda import NAME, PretendedCuda

import grokbench.report.export
import grokbench.training.local  # noqa: F401  (pytester forgets what is imported first inside it)
from grokbench import cli
from grokbench.claims import presets
from grokbench.engine import sizing
from grokbench.records.store import Store


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """The preset `tiny` with one cell and two epochs, and few slots."""
    monkeypatch.setitem(sizing.MOST, "cuda", 2)
    whole = tiny_preset.PRESET
    rule = dataclasses.replace(whole.criterion, budget=2)
    short = dataclasses.replace(whole, criterion=rule, tasks=whole.tasks[:1], softmaxes=("softmax",), replicas=1)
    monkeypatch.setitem(presets.PRESETS, "tiny", short)


COMMANDS = {
    "run": ["run", "--preset=tiny", "--no-early-stop"],
    "gate": ["gate", "--baseline=adamw", "--candidate=adamw(lr=0.01)", "--preset=tiny", "--max-pairs=1"],
    "perf": ["perf", "--baseline=adamw", "--candidate=sgd", "--preset=tiny", "--seconds=0.1", "--replicas=2"],
}


@pytest.mark.parametrize("command", ["run", *(pytest.param(c, marks=pytest.mark.slow) for c in ("gate", "perf"))])
def test_a_command_trains_there(command, tmp_path, capsys):
    store = [f"--store={tmp_path / 'runs.sqlite'}"] if command != "perf" else []
    with PretendedCuda() as gpu:
        code = cli.main([*COMMANDS[command], "--device=cuda", *store, f"--json={tmp_path / 'found.json'}"])
    out = capsys.readouterr()
    assert code in (0, 1, 3), out.err
    assert gpu.launches > 200, out.out
    assert NAME in json.dumps(json.loads((tmp_path / "found.json").read_text()))


def test_the_suite_of_pytest_trains_there(pytester, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    arguments = ("--pyargs", "grokbench.suite", "--grok-preset=tiny", "--grok-no-early-stop", "--grok-device=cuda")
    with PretendedCuda() as gpu:
        result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--grok-store=runs.sqlite", "-rs", *arguments)
    result.assert_outcomes(skipped=2)  # a cell and all cells: one pair decides nothing
    result.stdout.fnmatch_lines(["*undecided: *"])
    assert gpu.launches > 200
    with Store(pytester.path / "runs.sqlite") as store:
        assert [r.provenance.device for r in store.get(row[0] for row in store.listing()).values()] == [NAME, NAME]
