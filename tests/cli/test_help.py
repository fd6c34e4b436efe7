"""Help ends with examples that work; lists say what a newcomer asks; runs can be found in a store."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import shlex
import sqlite3
from pathlib import Path

import pytest
from stored import MACHINE, STATES, TIME, Store, spec, trace

from grokbench import cli
from grokbench.cli import show
from grokbench.cli.help import HELP
from grokbench.records.grok import GrokTime, Outcome
from grokbench.report.layout import Grid
from grokbench.spec import OptimizerSpec

COMMANDS: dict[str, argparse.ArgumentParser] = next(
    action.choices for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction)
)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    with Store("grokbench.sqlite") as store:
        for replica, time in enumerate((TIME, TIME, GrokTime(Outcome.CENSORED, 50, fit=4))):
            store.put(spec(replica), time, trace(), STATES[:1], 1.0, MACHINE)
    return tmp_path / "grokbench.sqlite"


def test_every_command_has_examples() -> None:
    assert set(HELP) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_examples_that_parse(command: str) -> None:
    lines = COMMANDS[command].format_help().partition("examples:\n")[2].splitlines()
    assert lines
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "grokbench"
        assert cli.parser().parse_args(arguments).command == command


def test_the_list_of_tasks_has_formulas_and_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "tasks"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "div a / b mod p for b from 1 to p − 1; 80% of the rows for training p = 31, 930 rows in ci; p = 97," in out
    assert "10 bits, 1024 rows in ci and paper" in out


def test_the_list_of_optimizers_says_what_a_bare_name_stands_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "optimizers"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "in smoke and ci: adamw(lr=0.016, weight_decay=0.3) in paper: adamw(lr=0.001, weight_decay=1.0)" in out


def test_the_list_of_claims_says_who_is_earlier(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "claims"]) == 0
    out = capsys.readouterr().out
    for line in (
        "that is, muon before adamw\n",
        "that is, unscaled in less than 1.1 times the time of muon\n",
        "that is, muon against adamw\n",
    ):
        assert line in out


def test_a_list_keeps_to_its_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert cli.main(["list", "claims"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 60


def test_show_lists_the_runs_of_a_store(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show"]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "3 of 3 runs in grokbench.sqlite; grokbench show RUN shows one of them"
    rows = [line.split() for line in lines if line.startswith(f" {spec().digest[:2]}") or "sgd(" in line]
    assert rows[0] == [spec(0).digest[:12], "add", "softmax", "sgd(lr=0.1)", "0", "grokked", "12", "30"]
    assert rows[2][5:] == ["censored", "never", "50"]


def test_show_tells_what_runs_differ_in(tmp_path: Path) -> None:
    other = dataclasses.replace(spec(0), criterion=dataclasses.replace(spec(0).criterion, budget=70), batch=32)
    faster = dataclasses.replace(spec(0), optimizer=OptimizerSpec("sgd", (("lr", 0.1), ("momentum", 0.5)), warmup=3))
    with Store(tmp_path / "s.sqlite") as store:
        for run in (spec(0), other, faster):
            store.put(run, TIME, trace(), (), 1.0, MACHINE)
        _, table = show.listing(store, None, None, None)
    assert isinstance(table, Grid)
    assert [column.head for column in table.columns][3:5] == ["optimizer", "other settings"]
    assert {(str(row[3]), str(row[4])) for row in table.rows} == {
        ("sgd(lr=0.1, warmup=0)", f"budget={spec(0).criterion.budget}, batch={spec(0).batch}"),
        ("sgd(lr=0.1, warmup=0)", "budget=70, batch=32"),
        ("sgd(lr=0.1, momentum=0.5, warmup=3)", f"budget={spec(0).criterion.budget}, batch={spec(0).batch}"),
    }


@pytest.mark.parametrize(
    ("arguments", "count"),
    [(["--outcome", "censored"], 1), (["--task", "add", "--arm", "sgd"], 3), (["--outcome", "diverged"], 0)],
)
def test_show_chooses_runs(store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], count: int) -> None:
    assert cli.main(["show", *arguments]) == 0
    assert capsys.readouterr().out.startswith(f"{count} of 3 runs in grokbench.sqlite")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "div"], "unknown task 'div': choose from add"),
        (["--arm", "muon"], "unknown arm 'muon': choose from sgd"),
        (["--outcome", "won"], "unknown outcome 'won': choose from grokked, censored, diverged"),
        (["ab", "--task", "add"], "--task, --arm and --outcome choose from the list"),
    ],
)
def test_show_refuses_what_it_cannot_choose(
    store: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert cli.main(["show", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_store_of_another_engine_keeps_its_digests(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(sqlite3.connect(store)) as db, db:
        db.execute("UPDATE runs SET digest = ? WHERE digest = ?", ("f" * 32, spec(1).digest))
    assert cli.main(["show"]) == 0
    assert f" {'f' * 12} " in capsys.readouterr().out
