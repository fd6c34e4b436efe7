"""`show`, `sweep`, `power` and `list` as a user meets them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import pytest

from grokbench import cli
from grokbench.records.store import Store

SWEEP = ["sweep", "--preset", "tiny", "--optimizer", "adamw", "--grid", "lr=0.0,0.02", "weight_decay=0,1"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_sweep_maps_its_grid_and_its_runs_can_be_shown(capsys):
    assert cli.main([*SWEEP, "--replicas", "3", "--json", "map.json"]) == 0
    out = capsys.readouterr().out
    assert "adamw on add under softmax" in out
    points = json.loads(Path("map.json").read_text())["points"]
    assert [(p["lr"], p["weight_decay"], p["replicas"]) for p in points] == [
        (0.0, 0.0, 3), (0.0, 1.0, 3), (0.02, 0.0, 3), (0.02, 1.0, 3),
    ]  # fmt: skip
    assert [p["grokked"] for p in points[:2]] == [0, 0]
    assert all(p["grokked"] and p["restricted_mean"] < 61 for p in points[2:])
    row = next(line for line in out.splitlines() if line.split()[:1] == ["0"])
    assert row.split() == ["0", "61", "0/3", "61", "0/3"]
    assert out.count("*") >= 2

    digest = points[2]["runs"][0]
    assert cli.main(["show", digest[:10]]) == 0
    shown = capsys.readouterr().out
    store = Store("grokbench.sqlite")
    record = store.get([digest])[digest]
    store.close()
    assert f"run {digest}" in shown
    assert f"first: {record.time.first}" in shown
    assert f"epoch {record.time.epochs}" in shown
    assert f"{record.diagnostics[-1].spectral_norm:.4g}" in shown
    assert "name='adamw'" in shown
    assert "lr=0.02" in shown


def test_a_run_has_to_be_named_well_enough(capsys):
    cli.main([*SWEEP, "--replicas", "2"])
    capsys.readouterr()
    assert cli.main(["show", ""]) == 2
    assert "8 runs of grokbench.sqlite begin with ''" in capsys.readouterr().err
    assert cli.main(["show", "zz"]) == 2
    assert "0 runs of grokbench.sqlite begin with 'zz'" in capsys.readouterr().err
    assert cli.main(["show", "0", "--store", "none.sqlite"]) == 2
    assert "there is no store none.sqlite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--grid", "momentum=0.9"], "unknown key of the grid 'momentum': choose from lr, weight_decay"),
        (["--grid", "lr=fast"], "cannot read the grid 'lr=fast': write it as lr=0.01,0.1"),
        (["--grid", "lr=-1"], "adamw: lr must be finite and not negative, not -1.0"),
        (["--replicas", "0"], "replicas must be at least 1 and at most 1000, not 0"),
        (["--task", "div"], "unknown task of preset tiny 'div': choose from add, gcd"),
        (["--optimizer", "torch.optim:Rprop(lr=0.1)"], "the protocol tuned needs weight_decay in the parentheses"),
        (["--device", "tpu"], "unknown device 'tpu'"),
    ],
)
def test_bad_sweeps_are_refused(capsys, arguments, message):
    assert cli.main(["sweep", "--preset", "tiny", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_power_of_a_ratio(capsys):
    assert cli.main(["power", "--ratio", "0.6", "--cells", "21"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[-3:]]
    assert [row[0] for row in rows] == ["50%", "80%", "95%"]
    assert all(9 <= int(fixed) < 60 and int(early) >= 10 for _, early, fixed in rows)


def test_a_store_that_is_only_asked_stays_as_it_is(tmp_path, capsys):
    empty, old = tmp_path / "empty.sqlite", tmp_path / "old.sqlite"
    empty.touch()
    Store(old).close()
    with contextlib.closing(sqlite3.connect(old)) as db:
        db.execute("PRAGMA user_version = 2")  # any that opens it for writing brings it up to date
    before = old.read_bytes()
    for path in (empty, old):
        assert cli.main(["power", "--from", str(path)]) == 2
        assert "has no finished cell of the preset ci" in capsys.readouterr().err
        assert cli.main(["show", "ab", "--store", str(path)]) == 2
        assert "0 runs of" in capsys.readouterr().err
    assert (empty.read_bytes(), old.read_bytes()) == (b"", before)
    assert sorted(tmp_path.iterdir()) == [empty, old]
    assert cli.main(["power", "--from", str(tmp_path / "none")]) == 2
    assert "there is no store" in capsys.readouterr().err


def test_power_of_a_store(trained, capsys):
    assert cli.main(["power", "--from", str(trained), "--preset", "tiny"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[3:]]
    assert {row[0] for row in rows} <= {f"{task}-{s}" for task in ("add", "gcd") for s in ("softmax", "sparsemax")}
    assert rows
    assert all(row[1] == "6" and float(row[2]) < 1 for row in rows)
    assert cli.main(["power", "--from", str(trained), "--preset", "smoke"]) == 2
    assert f"{trained} has no finished cell of the preset smoke" in capsys.readouterr().err


def test_power_of_a_table(capsys):
    lines = [
        f"add,{arm},{i},{t}" for arm, k in (("adamw", 2.0), ("muon", 1.5)) for i, t in enumerate((90, 100 * k, 120))
    ]
    Path("times.csv").write_text("cell,arm,seed,time\n" + "\n".join(lines))
    assert cli.main(["power", "--from", "times.csv", "--baseline", "adamw"]) == 0
    (row,) = (line.split() for line in capsys.readouterr().out.splitlines()[3:])
    assert row[:2] == ["all", "3"]
    assert row[4] == "67%", "two of three pairs are ties"
    assert cli.main(["power", "--from", "times.csv", "--baseline", "muon", "--budget", "1"]) == 2
    assert "has no cell with two pairs that differ" in capsys.readouterr().err
    assert cli.main(["power", "--baseline", "muon"]) == 2
    assert "--baseline and --budget are of a table" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--ratio", "1"], "ratio must be above 0 and not 1, not 1.0"),
        (["--ratio", "-2"], "ratio must be above 0 and not 1, not -2.0"),
        (["--spread", "0"], "spread must be above 0, not 0.0"),
        (["--ties", "1"], "ties must be in [0, 1), not 1.0"),
        (["--cells", "0"], "cells must be at least 1, not 0"),
        (["--from", "none.sqlite"], "there is no store none.sqlite"),
        (["--from", "x", "--ratio", "0.5"], "--from takes ratio and spread from the store"),
    ],
)
def test_bad_questions_of_power_are_refused(capsys, arguments, message):
    assert cli.main(["power", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_claims_and_protocols_are_listed(capsys):
    for what, words in (
        ("claims", ["janati2026-muon-collapses", "tested: it falls below the threshold more often", "margin of 1.1"]),
        ("protocols", ["published", "matched", "tuned"]),
    ):
        assert cli.main(["list", what]) == 0
        out = capsys.readouterr().out
        assert all(word in out for word in words)
