"""The benchmarks measure what they say, and their results can be compared."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timed import Benchmark
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim._muon import _zeropower_via_newtonschulz
from torch.utils.flop_counter import FlopCounterMode

from grokbench import cli
from grokbench.optim.newton_schulz import QUINTIC
from grokbench.spec import task

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.mark.slow
def test_a_timed_benchmark_says_what_it_measured_and_can_be_compared(benchmarks, tmp_path, capsys):
    path = tmp_path / "result.json"
    only = [f"{benchmarks}/kernels/test_newton_schulz_speed.py::test_orthogonalize[muon-square-32-1]"]
    only += ["--bench-device=cpu", "--benchmark-enable", f"--benchmark-json={path}"]
    only += ["--benchmark-max-time=0.02", "--benchmark-min-rounds=3", "-p", "no:cacheprovider"]
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    subprocess.run([sys.executable, "-m", "pytest", *only], cwd=ROOT, check=True, capture_output=True, env=alone)
    document = json.loads(path.read_text())
    (entry,) = document["benchmarks"]
    extra, times = entry["extra_info"], entry["stats"]
    assert extra.keys() == {
        "device", "dtype", "threads", "shapes", "reference", "reference_ratio", "reference_scale", "reference_samples",
        "flops", "flops_per_second", "peak_flops_per_second", "share_of_peak",
    }  # fmt: skip
    assert len(extra["reference_samples"]) == len(times["data"]) >= 3
    assert extra["reference_ratio"] == pytest.approx(statistics.median(extra["reference_samples"]) / times["median"])
    assert extra["share_of_peak"] == pytest.approx(extra["flops"] / times["median"] / extra["peak_flops_per_second"])
    assert extra["shapes"] == {"matrices": [1, 32, 32]}
    assert document["machine_info"]["grokbench"]["torch"] == torch.__version__

    assert cli.main(["compare", str(path), str(path), "--json", "-"]) == 0
    (compared,) = json.loads(capsys.readouterr().out)["benchmarks"]
    assert compared["results"][1]["ratio"] == 1


def test_a_race_alternates_and_counts(benchmarks, pytestconfig):
    import measure

    calls, benchmark = [], Benchmark()
    race = measure.Race(benchmark, CPU, lambda: 5.0, pytestconfig)
    race(
        lambda: calls.append("candidate"),
        lambda: calls.append("reference"),
        name="theirs",
        dtype=torch.float32,
        shapes={},
        counts={"flops": 20, "replica_steps": 6},
        scale=4,
    )
    assert calls == ["reference", "candidate"] * (len(calls) // 2)
    extra = benchmark.extra_info
    assert (extra["flops_per_second"], extra["share_of_peak"], extra["replica_steps_per_second"]) == (10, 2, 3)
    assert extra["reference_ratio"] == 4 * statistics.median(extra["reference_samples"]) / 2


def test_what_is_not_timed_is_kept_small(benchmarks, pytestconfig):
    import measure

    timed, smoke = (measure.Race(Benchmark(disabled=disabled), CPU, float, pytestconfig) for disabled in (False, True))
    timed.bound(1e12)
    smoke.bound(1e9)
    for race, flops, most in [(timed, 1e12, 1e11), (smoke, 1e12, math.inf)]:
        with pytest.raises(pytest.skip.Exception, match="one call needs more than"):
            race.bound(flops, most)


@pytest.mark.parametrize(("preset", "dropout"), [("ci", 0.0), ("paper", 0.2)])
def test_the_formulas_agree_with_torchs_count(benchmarks, preset, dropout):
    import plain
    import work

    run = work.preset_run(preset, "adamw", dropout=dropout)
    model, rows = plain.Model(run), 8
    tokens = torch.zeros(rows, run.task.positions, dtype=torch.int64)
    # Torch chooses an attention by the processor, and does not count all of them alike; this one is two products.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(tokens)
    assert counter.get_total_flops() == rows * work.plain_forward(run.transformer, run.task)
    with FlopCounterMode(display=False) as counter:
        _zeropower_via_newtonschulz(torch.randn(64, 16), QUINTIC, 5, 1e-7)
    assert counter.get_total_flops() == work.newton_schulz(64, 16)


@pytest.mark.parametrize(("optimizer", "softmax"), [("adamw", "softmax"), ("muon", "stablemax"), ("sgd", "sparsemax")])
def test_the_plain_loop_learns(benchmarks, optimizer, softmax):
    import plain
    import work

    torch.manual_seed(0)  # a peer's loop draws from the global generator
    run = work.preset_run("ci", optimizer, width=32, feed_forward=64)
    loop = plain.Plain(replace(run, softmax=softmax, task=task("add", 7), batch=16), CPU)
    accuracies = [loop.epoch()[0] for _ in range(60)]
    assert max(accuracies) > 0.6
