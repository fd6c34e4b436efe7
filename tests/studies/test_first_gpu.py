"""The command for the first minutes on a GPU, on the processor and on a pretended GPU, with tiny sizes."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import sys
from pathlib import Path

import pytest
import tiny
import torch
from pretend_cuda import PretendedCuda

from grokbench.claims import presets
from grokbench.engine import sizing

ROOT = Path(__file__).parents[2]


@pytest.fixture
def first(monkeypatch):
    """The script, and a preset `tiny` of two epochs."""
    rule = dataclasses.replace(tiny.PRESET.criterion, budget=2)
    monkeypatch.setitem(sizing.MOST, "cuda", 2)
    monkeypatch.setitem(presets.PRESETS, "tiny", dataclasses.replace(tiny.PRESET, criterion=rule))
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    for name in ("first_gpu", "first_stages", "jax_loop"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("first_gpu")


def small(first, folder, device, **sizes):
    cell = {"preset": "tiny", "tasks": ("add",), "softmaxes": ("softmax",), "replicas": 2, "threads": 1}
    return first.stages.Setting(
        torch.device(device),
        folder,
        **{
            "replicas": (1, 2),
            "throughput_presets": ("tiny",),
            "matrices": ((2, 16, 16),),
            "scores": ((2, 4, 5),),
            "stepped": (2,),
            "at_once": (1, 2),
            "checks": ("losses", "random bits"),
            "table": cell,
            "paper": {**cell, "replicas": 1},
            **sizes,
        },
    )


def run(first, folder, setting, minutes=5.0, chosen=None):
    journal = first.Journal(folder, {"command": "a test", "machine": first.machine(setting.device), "stages": {}})
    sound = first.measure(journal, setting, minutes, chosen or first.STAGES)
    return sound, json.loads((folder / "first_gpu.json").read_text()), (folder / "first_gpu.md").read_text()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.slow)])
def test_every_stage_runs(first, device, tmp_path, monkeypatch):
    monkeypatch.setattr(first.stages, "LEAST", 1)
    monkeypatch.setattr(first.stages, "MOST", 1)
    chosen = {name: stage for name, stage in first.STAGES.items() if name != "tests"}
    with PretendedCuda() if device == "cuda" else contextlib.nullcontext():
        sound, content, page = run(first, tmp_path, small(first, tmp_path, device), chosen=chosen)
    stages = content["stages"]
    assert sound, stages
    assert {name: stage["status"] for name, stage in stages.items()} == dict.fromkeys(chosen, "done")
    assert [row["status"] for row in stages["verify"]["rows"]] == ["holds", "holds"]
    kernels = stages["kernels"]["rows"]
    assert len(kernels) == 1 + 3 + 2
    assert all(row["ours"] > 0 and row["plain"] > 0 and row["torch"] > 0 for row in kernels)
    speeds = [(row["optimizer"], row["replicas"]) for row in stages["throughput"]["rows"] if row["form"] == "eager"]
    assert speeds == [("adamw", 1), ("adamw", 2), ("muon", 1), ("muon", 2)]
    forms = [row["form"] for row in stages["throughput"]["rows"]]
    assert forms.count("JAX") == 2  # measured, or why not
    assert forms.count("2 of 2 at once") == (2 if device == "cuda" else 0)
    assert stages["table of ci"]["rows"][0]["cell"] == "add-softmax"
    assert "| add-softmax |" in page
    assert "## throughput: done" in page


def stage(*rows, error=None):
    def made(setting):
        yield from rows
        if error:
            raise error

    return 1.0, made


def test_a_stage_that_fails_is_said_and_the_next_one_goes_on(first, tmp_path):
    skipped = first.stages.SkippedError("there is no such thing")
    chosen = {
        "a": stage({"x": 1.0}, error=ZeroDivisionError("division")),
        "b": stage(error=skipped),
        "c": stage({"x": 2}, error=torch.OutOfMemoryError("CUDA out of memory")),
        "d": stage({"name": "it", "status": "FAILED"}),
        "e": stage({"y": None}),
    }
    sound, content, page = run(first, tmp_path, small(first, tmp_path, "cpu"), chosen=chosen)
    assert not sound
    told = {name: (note["status"], note["reason"]) for name, note in content["stages"].items()}
    assert told == {
        "a": ("FAILED", "ZeroDivisionError: division"),
        "b": ("skipped", "there is no such thing"),
        "c": ("FAILED", "out of memory"),
        "d": ("done", ""),
        "e": ("done", ""),
    }
    assert content["stages"]["a"]["rows"] == [{"x": 1.0}]
    assert "division" in content["stages"]["a"]["traceback"]
    assert "| y |\n| --- |\n| – |" in page


def test_a_cut_off_loses_nothing(first, tmp_path):
    chosen = {"a": stage({"x": 1}), "b": stage({"x": 2}, error=KeyboardInterrupt()), "c": stage({"x": 3})}
    with pytest.raises(KeyboardInterrupt):
        run(first, tmp_path, small(first, tmp_path, "cpu"), chosen=chosen)
    content = json.loads((tmp_path / "first_gpu.json").read_text())
    assert {name: note["rows"] for name, note in content["stages"].items()} == {"a": [{"x": 1}], "b": [{"x": 2}]}


def test_without_time_nothing_begins_and_training_ends(first, tmp_path):
    setting = small(first, tmp_path, "cpu")
    sound, content, _ = run(first, tmp_path, setting, minutes=0.0)
    stages = content["stages"]
    assert sound
    assert {stage["status"] for name, stage in stages.items() if name != "tests"} == {"cut off"}
    assert stages["tests"]["reason"] == "there is no GPU, and these tests need one"
    setting.end = float("inf")
    left = iter([1.0, 1.0, 0.0])
    setting.left = lambda: next(left)  # type: ignore[method-assign]
    with pytest.raises(first.stages.SkippedError, match="2 of 4 runs done"):
        list(first.stages.table(setting))


def test_what_does_not_fit_is_not_measured(first, tmp_path, monkeypatch):
    setting = small(first, tmp_path, "cpu", replicas=(1, 1 << 40))
    setting.end = float("inf")
    monkeypatch.setattr(first.stages, "LEAST", 1)
    monkeypatch.setattr(first.stages, "MOST", 1)
    rows = [row for row in first.stages.throughput(setting) if row["form"] == "eager"][1::2]
    assert [row["optimizer"] for row in rows] == ["adamw", "muon"]
    assert all("GiB are free" in row["not measured"] for row in rows)
    setting.end = first.stages.time.monotonic() + 1000
    rows = [row for row in first.stages.throughput(setting) if row["form"] == "eager"][1::2]
    assert all("s are left" in row["not measured"] for row in rows)


def test_it_is_a_command(first, tmp_path, capsys):
    assert first.main(["--minutes", "0", "--device", "cpu", "-o", str(tmp_path / "new")]) == 0
    assert (tmp_path / "new" / "first_gpu.md").read_text().startswith("# The first minutes on this machine")
    assert "written: " in capsys.readouterr().out
