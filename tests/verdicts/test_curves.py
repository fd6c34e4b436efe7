"""Learning curves as people have them, to times: by the rule that grokbench's own runs are timed by."""

from __future__ import annotations

import builtins
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grokbench import cli
from grokbench.records.grok import Trace, grok_time
from grokbench.spec import GrokCriterion, UsageError
from grokbench.verdicts import curves
from grokbench.verdicts.reading import read

STEPS = range(25, 525, 25)
ASKED: dict[str, Any] = {"metric": "val_acc", "above": 0.95}


def curve(rises: int, falls: int = 10**9) -> list[float]:
    """An accuracy that is at 1 between two steps."""
    return [1.0 if rises <= step < falls else 0.2 for step in STEPS]


def rows_of(text: str, **asked: Any) -> list[tuple[str, str, float, bool, float | None]]:
    found = curves.times(io.StringIO(text), **{**ASKED, **asked}).rows
    return [(row.arm, row.replica, row.time, row.event, row.before) for row in found]


def long(*runs: tuple[str, int, list[float]]) -> str:
    lines = [f"{arm},{seed},{step},{v}" for arm, seed, own in runs for step, v in zip(STEPS, own, strict=True)]
    return "optimizer,seed,step,val_acc\n" + "\n".join(lines)


def test_a_long_table_gives_times_and_the_evaluations_before() -> None:
    text = long(("adamw", 0, curve(300)), ("muon", 0, curve(100)), ("muon", 1, curve(9999)))
    assert rows_of(text) == [
        ("adamw", "0", 300, True, 275), ("muon", "0", 100, True, 75), ("muon", "1", 500, False, None),
    ]  # fmt: skip


def test_one_file_a_run_is_named_by_itself_or_by_its_folder(tmp_path: Path) -> None:
    for name, rises in (("adamw_seed0.csv", 300), ("muon-lr0.02-s12.csv", 100), ("sgd/seed3.csv", 200)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("Step;val_acc\n" + "".join(f"{s};{v}\n" for s, v in zip(STEPS, curve(rises), strict=True)))
    found = curves.times([str(p) for p in sorted(tmp_path.rglob("*.csv"))], "val_acc", above=0.95)
    assert [(row.arm, row.replica, row.time) for row in found.rows] == [
        ("adamw", "0", 300), ("muon-lr0.02", "12", 100), ("sgd", "3", 200),
    ]  # fmt: skip
    assert found.notes == ["3 runs: 1 of adamw, 1 of muon-lr0.02, 1 of sgd"]
    (row,) = curves.times(str(tmp_path / "adamw_seed0.csv"), "val_acc", above=0.95, runs="{arm}_{cell}d{replica}").rows
    assert (row.cell, row.arm, row.replica) == ("see", "adamw", "0")
    with pytest.raises(UsageError, match=r"the run '.*' does not tell its arm and replica: --runs PATTERN"):
        curves.times(str(tmp_path / "sgd" / "seed3.csv"), "val_acc", above=0.95, runs="{arm}={replica}")


def test_json_lines_skip_what_was_not_logged_and_keep_what_diverged() -> None:
    logged: list[dict[str, Any]] = [{"_step": 1, "loss": 3.0}, {"_step": 2, "val_loss": 3.2}, {"_step": 3, "loss": 1.0},
              {"_step": 4, "val_loss": 3.1, "config": {"lr": 1}}, {"_step": 5, "val_loss": None}]  # fmt: skip
    text = "\n".join(json.dumps({**entry, "run": "muon-3"}) for entry in logged)
    assert rows_of(text, metric="val_loss", above=None, below=3.15) == [("muon", "3", 4, True, 2)]
    text += "\n" + json.dumps({"_step": 6, "val_loss": float("nan"), "run": "muon-3"})
    assert rows_of(text, metric="val_loss", above=None, below=1) == [("muon", "3", float("inf"), False, None)]
    assert "never" in curves.table(curves.times(io.StringIO(text), "val_loss", below=1).rows)


CHART = """"Step","adamw-s0 - val_acc","adamw-s0 - val_acc__MIN","adamw-s0 - val_acc__MAX","muon-s0 - val_acc"
"10","0.2","0.2","0.2","0.96"
"20","0.97","{low}","0.97",""
"""


def test_a_chart_of_wandb_has_a_column_a_run() -> None:
    assert rows_of(CHART.format(low="0.97")) == [("adamw", "0", 20, True, 10), ("muon", "0", 10, True, 0)]
    notes = curves.times(io.StringIO(CHART.format(low="0.5")), "val_acc", above=0.95).notes
    assert "was thinned or averaged (__MIN and __MAX differ)" in notes[0]
    with pytest.raises(UsageError, match="a mean over runs: export the chart without grouping"):
        rows_of(CHART.replace("adamw-s0", "Group: adamw"))


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30), st.integers(0, 3), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_the_detector_is_that_of_runs(points: list[tuple[bool, bool]], hold: int, settle: int) -> None:
    fit, high = (np.array(values, dtype=float) for values in zip(*points, strict=True))
    epochs = np.arange(1, len(points) + 1, dtype="<i4")
    trace = Trace(epochs, fit, high, np.zeros(len(epochs), "<f4"), np.zeros(len(epochs), "<f4"))
    expected = grok_time(trace, GrokCriterion(len(points), settle=settle, hold=hold))
    text = "arm,seed,epoch,train,val_acc\n" + "".join(
        f"x,0,{10 * e},{f},{v}\n" for e, f, v in zip(epochs, fit, high, strict=True)
    )
    ((_, _, time, event, before),) = rows_of(text, settled=("train", 0.99), settle=settle, hold=hold)
    at = expected.held if hold else expected.epoch
    assert (time, event, before) == ((10 * at, True, 10 * (at - 1)) if at else (10 * len(points), False, None))


def test_the_commands_pipe_into_each_other(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(long(*((a, s, curve(k + 25 * s)) for a, k in (("adamw", 250), ("muon", 50)) for s in range(6))))
    assert cli.main(["times", str(path), "--metric", "val_acc", "--above", "0.95"]) == 0
    out, err = capsys.readouterr()
    assert err == "12 runs: 6 of adamw, 6 of muon\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(out.encode())))
    assert cli.main(["judge", "-", "--baseline", "adamw"]) == 0
    assert "supported: earlier" in capsys.readouterr().out


def test_per_cents_are_guessed_and_said() -> None:
    text = long(("x", 0, [100 * v for v in curve(100)]))
    assert (
        curves.times(io.StringIO(text), "val_acc", above=0.95).notes[0].startswith("val_acc goes up to 100: is it in")
    )


@pytest.mark.parametrize(
    ("text", "asked", "message"),
    [
        ("step,val_acc\n1,1\n", {"below": 1}, "say either --above or --below"),
        ("step,val_acc\n1,1\n", {"above": None}, "say either --above or --below"),
        ("step,acc\n1,1\n", {}, "has no column 'val_acc'; it has 'step', 'acc'"),
        ("val_acc\n1\n", {}, "has no column for the time; --step NAME says which it is"),
        (
            "step,epoch,val_acc\n1,1,1\n",
            {},
            "has 2 columns for the time: 'step', 'epoch'; --step NAME says which it is",
        ),
        ("step,val_acc\n1,1\n", {"step": "x"}, "has no column 'x'; it has 'step', 'val_acc'"),
        ("step,val_acc\n1,high\n", {}, "line 2: val_acc must be a number, not 'high'"),
        ("step,val_acc\nsoon,1\n", {}, "line 2: step must be a number, not 'soon'"),
        ("step,arm,seed,val_acc\n1,x,0,1\n1,x,0,1\n", {}, "line 3: val_acc of this run is there already at 1"),
        ("step,arm,seed,val_acc\n0,x,0,1\n", {}, "replica 0 of x has reached it at 0 already, before any training"),
        ("step,arm,seed,val_acc\n", {}, "there are no runs in these files"),
        ("step,step,val_acc\n1,1,1\n", {}, "has the column 'step' twice; leave one"),
        (
            "step,val_acc\n1,1\n",
            {"runs": "{arm}"},
            "a pattern of runs holds .arm. and .replica. once each, not '{arm}'",
        ),
        ('{"step": 1\n', {}, "is neither a table nor JSON lines: line 1 cannot be read"),
        ("[1]", {}, "line 1: it is no JSON object"),
        ("step,arm,seed,val_acc\n1,x,0,1\n", {"hold": -1}, "hold must be a whole number of at least 0, not -1"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        rows_of(text, **asked)


@given(st.text(alphabet=st.sampled_from([*"step,val_acc\n;#\"'{}[]: 0189.einf-arm"]), max_size=120))
@settings(deadline=None, max_examples=200)
def test_no_text_ends_in_a_traceback(text: str) -> None:
    with contextlib.suppress(UsageError):
        rows_of("step,arm,seed,val_acc\n" + text)
    with contextlib.suppress(UsageError):
        rows_of(text)


def test_event_files_without_their_package_are_refused_in_a_line(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("tensorboard"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    assert cli.main(["times", str(tmp_path), "--metric", "acc", "--above", "1"]) == 2
    assert "pip install 'grokbench[tensorboard]'" in capsys.readouterr().err


def test_event_files_of_tensorboard_are_read(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    for run, rises in (("adamw-seed0", 300), ("muon-seed0", 100)):
        writer = EventFileWriter(str(tmp_path / run))
        for step, value in zip(STEPS, curve(rises), strict=True):
            entry = Summary(value=[Summary.Value(tag="val/acc", simple_value=value)])
            writer.add_event(Event(step=step, summary=entry))
        writer.close()
    found = curves.times(str(tmp_path), "val/acc", above=0.95)
    assert [(row.arm, row.time, row.before) for row in found.rows] == [("adamw", 300, 275), ("muon", 100, 75)]
    with pytest.raises(UsageError, match="has no scalar 'val_acc'; it has 'val/acc'"):
        curves.times(str(tmp_path), "val_acc", above=0.95)


def test_what_times_writes_is_what_judge_reads() -> None:
    rows = curves.times(io.StringIO(long(("ab", 0, curve(300)), ("m", 1, curve(9999)))), "val_acc", above=0.95).rows
    assert [row._replace(line=0) for row in read(io.StringIO(curves.table(rows)))] == [
        row._replace(line=0) for row in rows
    ]
