"""What benchmarks tell of a GPU beside the time: by a pretended one, a library that answers, and files of several."""

from __future__ import annotations

import hashlib
import importlib
import json
import statistics
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from nvml import library
from pretend_cuda import PretendedCuda
from timed import Benchmark

from grokbench import cli
from grokbench.perf import card, clock

ROOT = Path(__file__).parents[2]
GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture
def nvml(monkeypatch):
    """A library whose card gains speed, 500 MHz a question, up to 1755 MHz, and is then held back by its power."""
    asked = []

    def speed(handle, kind):
        asked.append(kind)
        return min(1755, 500 * asked.count(kind)) if kind == 1 else 2619

    made = library(
        Init=lambda: None,
        Shutdown=lambda: None,
        DeviceGetHandleByUUID=lambda uuid: uuid,
        SystemGetDriverVersion=lambda: "580.1",
        DeviceGetClockInfo=speed,
        DeviceGetEccMode=lambda handle: (1, 1),
        DeviceGetPersistenceMode=lambda handle: 1,
        DeviceGetCurrentClocksThrottleReasons=lambda handle: 0x4,
    )
    monkeypatch.setitem(sys.modules, "pynvml", made)
    monkeypatch.setattr(clock, "APART", 0.0)
    return made


def test_a_gpu_is_warmed_up_until_its_clock_is_steady(nvml):
    calls = []
    with PretendedCuda():
        assert clock.warm(lambda: calls.append(1), GPU).startswith("steady at 1755 MHz after")
        assert len(calls) == 5  # after the question whether it tells: 1000, 1500, and three times 1755
        assert clock.warm(lambda: None, GPU, most=0.0) == "not steady after 0.0 s"


def test_without_a_clock_the_times_of_calls_are_looked_at(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(card, "_by_tool", lambda uuid: {})
    monkeypatch.setattr(clock, "APART", 0.0)
    times = iter([9.0, 5.0, 3.0, 2.0, 2.01, 2.02, 2.0])
    monkeypatch.setattr(clock, "seconds", lambda action, device: next(times))
    with PretendedCuda():
        assert clock.warm(lambda: None, GPU).startswith("steady at 2020000 µs a call after")


def test_a_race_on_a_gpu_has_events_a_cold_cache_and_what_the_card_says(benchmarks, pytestconfig, nvml):
    import measure

    benchmark, order = Benchmark(), []
    with PretendedCuda() as gpu:
        x = torch.ones(3, device=GPU)

        def work(name):
            order.append((name, gpu.calls["aten.zero_.default"]))
            return x + 1

        race = measure.Race(benchmark, GPU, lambda: 5.0, pytestconfig)
        race._seconds = 0.0
        sides = (lambda: work("ours"), lambda: work("reference"))
        race(*sides, name="theirs", dtype=torch.float32, shapes={}, counts={"flops": 20})
    extra = benchmark.extra_info
    rounds = len(extra["event_samples"])
    assert rounds == len(extra["reference_event_samples"]) == len(extra["reference_samples"]) >= 5
    assert extra["event_median"] == statistics.median(extra["event_samples"]) > 0
    assert extra["warm_up"].startswith("steady at 1755 MHz")
    assert extra["l2_flushed_bytes"] == 2048
    flushes = [count for _, count in order[-2 * rounds :]]
    assert flushes == list(range(1, 2 * rounds + 1))  # before each call of either side
    told = {"driver_version": "580.1", "persistence_mode": "Enabled", "ecc.mode.current": "Enabled"}
    assert told.items() <= extra["card_before"].items()
    assert extra["card_after"]["clocks.sm"] == "1755 MHz"
    assert extra["slowed_down_by"] == "software power cap"


def test_a_processor_has_none_of_it(benchmarks, pytestconfig):
    import measure

    benchmark = Benchmark()
    race = measure.Race(benchmark, CPU, lambda: 5.0, pytestconfig)
    race(lambda: None, lambda: None, name="theirs", dtype=torch.float32, shapes={}, counts={"flops": 20})
    assert not [key for key in benchmark.extra_info if "event" in key or "card" in key or "l2" in key]


# Histories compare benchmarks by name and group. One that is renamed loses its past, so this changes with a reason.
NAMES = {"modules": 3, "moves": 6, "newton_schulz": 144, "optimizer": 30, "replica_steps": 48, "softmax": 24}
DIGEST = "c1672b710c5f9d99"  # of all names


@pytest.mark.slow
def test_names_and_groups_are_those_of_earlier_releases():
    command = [sys.executable, "-m", "pytest", "benchmarks", "--collect-only", "-q", "-n", "0"]
    command += ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--bench-device=cpu"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    names = [line for line in done.stdout.splitlines() if "::" in line]
    groups = [Path(name.partition("::")[0]).stem.removeprefix("test_").removesuffix("_speed") for name in names]
    assert {group: groups.count(group) for group in groups} == NAMES
    assert hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16] == DIGEST


def entry(name, *samples, device="H100"):
    stats = {"data": list(samples), "median": statistics.median(samples), "mean": statistics.mean(samples)}
    return {"fullname": name, "name": name, "stats": stats, "extra_info": {"device": device, "reference": "theirs"}}


def test_files_of_several_gpus_become_one_that_can_be_compared(benchmarks, tmp_path, capsys):
    every = importlib.import_module("every_gpu")
    machine = {"machine_info": {"grokbench": {"torch": "2.9"}}, "commit_info": {}}
    speeds = {"a": [(1.0, 1.2, 1.1), (1.5,), (1.0,)], "b": [(2.0,), (2.0,), (2.0,)]}
    entries = [[entry(name, *of[i]) for name, of in speeds.items()] for i in range(3)]
    del entries[2][1]  # one GPU has not measured it
    documents = [{**machine, "benchmarks": own} for own in entries]
    whole = every.merged(documents, ["0", "1", "3"])
    (only,) = whole["benchmarks"]
    assert only["stats"]["data"] == [1.1, 1.5, 1.0]
    assert (only["stats"]["median"], only["stats"]["min"], only["stats"]["max"]) == (1.1, 1.0, 1.5)
    assert only["extra_info"]["spread"] == pytest.approx(0.5 / 1.1)
    assert only["extra_info"]["gpus"]["1"]["median"] == 1.5
    path = tmp_path / "every_gpu.json"
    path.write_text(json.dumps(whole))
    assert cli.main(["compare", str(path), str(path), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["benchmarks"][0]["name"] == "a"


def test_each_gpu_has_a_process_that_sees_it_alone(benchmarks, tmp_path, monkeypatch, capsys):
    every = importlib.import_module("every_gpu")
    started = []

    def popen(command, *, env, **_):
        started.append(env["CUDA_VISIBLE_DEVICES"])
        path = next(Path(word.partition("=")[2]) for word in command if word.startswith("--benchmark-json="))
        seconds = 1.0 + len(started)
        path.write_text(json.dumps({"benchmarks": [entry("a", seconds)]}))
        return SimpleNamespace(wait=lambda: 0)

    monkeypatch.setattr(every.subprocess, "Popen", popen)
    monkeypatch.setattr(every.devices, "visible", lambda: ["0", "GPU-7"])
    every.main(["-o", str(tmp_path), "--", "benchmarks/kernels"])
    assert started == ["0", "GPU-7"]
    assert "2500000.0 µs, spread  40.0% over 2: a" in capsys.readouterr().out
    monkeypatch.setattr(every.subprocess, "Popen", lambda *_, **__: SimpleNamespace(wait=lambda: 1))
    with pytest.raises(SystemExit, match=r"pytest failed on GPU 0: see .*; GPU-7: see "):
        every.main(["-o", str(tmp_path)])
    monkeypatch.setattr(every.devices, "visible", list)
    with pytest.raises(SystemExit, match="there is no GPU here"):
        every.main(["-o", str(tmp_path)])
