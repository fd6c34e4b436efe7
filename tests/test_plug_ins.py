"""The guide's page on plug-ins: its files are short, and its commands run, on tiny runs."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path

import pytest
from documents import PAGES, blocks, write_files
from tiny import PRESET

from grokbench import cli
from grokbench.claims import presets

PAGE = PAGES["plug-ins"]
COMMANDS = [line for block in blocks(PAGE, "sh") for line in block.splitlines()]
SMALL = {
    "p=31, train_share=0.6": "p=7, train_share=0.6",
    "width=256": "width=16",
    "width=64": "width=16",
    "budget=2000": "budget=3",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page's files in the present folder, and a `smoke` of a second."""
    criterion = dataclasses.replace(PRESET.criterion, budget=3)
    smoke = dataclasses.replace(
        PRESET, name="smoke", replicas=1, batch=39, criterion=criterion, tasks=PRESET.tasks[:1], softmaxes=("softmax",)
    )
    monkeypatch.setitem(presets.PRESETS, "smoke", smoke)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in write_files(PAGE, tmp_path):
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    return tmp_path


def test_an_example_is_at_most_fifteen_lines_long() -> None:
    sizes = {block.partition("\n")[0]: len(block.strip().splitlines()) - 1 for block in blocks(PAGE, "python")}
    assert len(sizes) == 6
    assert {name: size for name, size in sizes.items() if size > 15} == {}


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(command, marks=pytest.mark.slow if " check " in command else ())
        for command in COMMANDS
        if command.startswith("grokbench ")
    ],
)
def test_every_command_runs(command: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for large, small in SMALL.items():
        command = command.replace(large, small)
    assert cli.main([*shlex.split(command)[1:], *(["--no-early-stop"] if " run " in command else [])]) == 0
    out = capsys.readouterr().out
    assert "4 of 4 conform" in out if " check " in command else "2 runs: " in out


def test_the_lstm_trains_under_muon(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arms = ["--optimizer", "adamw", "--optimizer", "muon(momentum=0.9)"]
    command = ["run", "--preset", "smoke", "--model", "my_model:Lstm(width=16)", "--no-early-stop"]
    assert cli.main([*command, *arms]) == 0
    assert "muon" in capsys.readouterr().out


def test_the_claim_is_a_case_of_pytest(folder: Path, pytester: pytest.Pytester) -> None:
    (command,) = [c for c in COMMANDS if c.startswith("pytest ")]
    pytester.chdir()
    write_files(PAGE, pytester.path)
    result = pytester.runpytest_inprocess(*shlex.split(command)[1:], "--grok-no-early-stop", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)
