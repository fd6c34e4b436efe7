"""The race of two optimizers: what it flags on made-up times, and that real steps can be raced."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from grokbench import cli
from grokbench.perf import clock
from grokbench.perf.race import FEWEST, MOST, Race, race, result


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class Machine:
    """A clock that drifts: every call takes longer than the one before."""

    def __init__(self, drift=0.0, noise=0.0):
        self.now, self.calls, self.drift, self.noise = 1.0, [], drift, noise
        self.rng = np.random.default_rng(0)

    def clock(self, name, factor=1.0):
        def call():
            self.calls.append(name)
            self.now *= 1 + self.drift
            return factor * self.now * float(np.exp(self.rng.normal(0, self.noise)))

        return call


def test_the_order_is_balanced_and_a_drift_meets_both_alike():
    machine = Machine(drift=0.01)
    found = race(machine.clock("a"), machine.clock("b", 1.1), 100.0, warmups=1)
    assert "".join(machine.calls[2:10]) == "abbabaab"
    assert found.ratio == pytest.approx(1.1, rel=1e-3)


@pytest.mark.parametrize(("seconds", "quads"), [(1e-6, FEWEST), (1e6, MOST), (120.0, 30)])
def test_there_are_as_many_quads_as_fit(seconds, quads):
    machine = Machine()
    assert len(race(machine.clock("a"), machine.clock("b"), seconds).baseline) == quads


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "alike"), (1.02, "alike"), (1.3, "slower"), (1 / 1.3, "faster")])
def test_what_is_flagged(factor, verdict):
    machine = Machine(noise=0.05)
    found = race(machine.clock("a"), machine.clock("b", factor), 200.0)
    assert found.interval[0] < found.ratio < found.interval[1]
    assert found.verdict(0.05, 0.0) == verdict
    assert found.verdict(0.05, 10.0) == "alike"  # below the floor


def test_intervals_know_that_neighbours_are_alike():
    rng = np.random.default_rng(0)
    slow = np.repeat(rng.normal(0, 0.1, 20), 5)  # five quads in a row share a disturbance
    lone = rng.permutation(slow)
    widths = []
    for logs in (slow, lone):
        ends = result(np.ones((100, 2)), np.exp(logs)[:, None] * np.ones((100, 2))).interval
        widths.append(np.log(ends[1] / ends[0]))
    assert widths[0] > 1.3 * widths[1]


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [((0.99, 1.02), "alike"), ((0.98, 1.2), "undecided"), ((1.06, 1.2), "slower"), ((0.8, 0.9), "faster")],
)
def test_alike_is_not_what_cannot_be_told(ends, verdict):
    middle = float(np.sqrt(ends[0] * ends[1]))
    found = Race(np.ones((24, 2)), middle * np.ones((24, 2)), middle, ends)
    assert found.verdict(0.05, 0.0) == verdict


def test_what_diverges_is_not_timed(capsys):
    assert cli.main([*RACE, "--baseline", "adamw", "--candidate", "sgd(lr=1e30)"]) == 2
    assert "sgd(lr=1e30) left the finite numbers while it was timed" in capsys.readouterr().err


def test_seconds_are_those_of_the_call():
    assert 0.01 < clock.seconds(lambda: time.sleep(0.01), torch.device("cpu")) < 1


RACE = ["perf", "--preset", "tiny", "--replicas", "1", "--seconds", "0.01", "--margin", "10"]


def test_the_command_races_both_kinds_of_step(capsys):
    assert cli.main([*RACE, "--baseline", "muon", "--candidate", "adamw", "--json", "out.json"]) == 0
    out = capsys.readouterr().out
    assert "optimizer step" in out
    assert "adamw against muon: 1 replicas of tiny, flagged beyond 1000% and 20 µs a step" in out
    document = json.loads(Path("out.json").read_text())
    assert [t["step"] for t in document["timings"]] == ["optimizer step", "training step"]
    assert all(len(t["baseline"]) == len(t["candidate"]) >= FEWEST for t in document["timings"])
    assert document["provenance"]["torch"] == torch.__version__


def test_the_self_test_plants_what_it_has_to_find(capsys):
    arguments = ["--self-test", "--baseline", "adamw", "--floor", "0"]
    code = cli.main(["perf", "--preset", "tiny", "--replicas", "1", "--seconds", "0.2", "--margin", "0.15", *arguments])
    out = capsys.readouterr().out
    assert "The same with 1.3 times planted:" in out
    flagged = "identical code is not flagged, the planted slowdown is flagged" in out
    assert code == (0 if flagged else 1)  # that timings are as they should be is for benchmarks to say


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "perf needs --candidate, or --self-test"),
        (["--candidate", "adamv"], "unknown optimizer 'adamv'"),
        (["--candidate", "adamw", "--replicas", "0"], "replicas must be at least 1"),
        (["--candidate", "adamw", "--floor", "-1"], "floor must be at least 0"),
        (["--candidate", "adamw", "--preset", "small"], "unknown preset 'small'"),
    ],
)
def test_bad_values_are_refused(capsys, arguments, message):
    assert cli.main(["perf", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_race_is_a_fixture_too(pytester, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    pytester.makepyfile(
        """
        def test_it(grok_perf):
            found = grok_perf(baseline="adamw", candidate="sgd", preset="tiny", replicas=1, seconds=0.01, margin=10)
            assert not found.slower
            assert repr(found).startswith("optimizer step ")
        """
    )
    pytester.runpytest_inprocess("-p", "no:cacheprovider", "--junitxml=out.xml").assert_outcomes(passed=1)
    assert 'name="grok_perf_training_step" value="' in (pytester.path / "out.xml").read_text()
