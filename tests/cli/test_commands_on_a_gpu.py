"""Commands that train, once each on a pretended GPU: what they say, and that the GPU did the work."""

from __future__ import annotations

import dataclasses
import json

import pytest
import tiny as tiny_preset
from pretend_cuda import NAME, PretendedCuda

from grokbench import cli
from grokbench.claims import presets


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """The preset `tiny` with one cell and two epochs."""
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
