"""What the guide shows is run: Python on tiny runs, and commands that train nothing. Lists of names are complete."""

from __future__ import annotations

import dataclasses
import linecache
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from documents import PAGES, README, blocks
from tiny import PRESET

import grokbench as gb
from grokbench import cli
from grokbench.claims import presets
from grokbench.conformance import checks
from grokbench.spec import given

PAGE = PAGES["python"]


def test_the_blocks_of_the_page_on_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    criterion = dataclasses.replace(PRESET.criterion, budget=6)
    cells: dict[str, Any] = {"tasks": PRESET.tasks[:1], "softmaxes": ("softmax",)}
    smoke = dataclasses.replace(PRESET, name="smoke", replicas=2, batch=39, criterion=criterion, **cells)
    monkeypatch.setitem(presets.PRESETS, "smoke", smoke)
    monkeypatch.setattr(given, "_objects", {})
    monkeypatch.setattr(
        checks, "CHECKS", {name: checks.CHECKS[name] for name in ("runs", "deterministic", "gradients missing")}
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "112")
    space: dict[str, Any] = {"__name__": "__main__"}
    for number, block in enumerate(blocks(PAGE, "python")):
        file = f"<block {number}>"
        linecache.cache[file] = (len(block), None, block.splitlines(keepends=True), file)
        exec(compile(block, file, "exec"), space)
    said = capsys.readouterr().out
    assert "Does muon grok earlier than adamw?" in said
    assert "Does Signed grok earlier than adamw?" in said
    assert "unknown optimizer 'muoon'" in said
    assert {path.name for path in tmp_path.iterdir()} >= {"curves.csv", "grokbench.sqlite"}


QUIET = ("list", "guide", "power --ratio")
COMMANDS = list(
    dict.fromkeys(
        line.removeprefix("grokbench ")
        for page in (README, *PAGES.values())
        for block in blocks(page, "sh")
        for line in block.splitlines()
        if line.startswith(tuple(f"grokbench {quiet}" for quiet in QUIET))
    )
)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_that_train_nothing_run(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(shlex.split(command)) == 0
    assert capsys.readouterr().out


def test_a_case_of_ones_own_is_collected(pytester: pytest.Pytester) -> None:
    (block,) = blocks(PAGES["pytest"], "python")
    pytester.makepyfile(test_mine=block)
    result = pytester.runpytest_inprocess("--grok-preset", "smoke", "--collect-only", "-q", "-p", "no:cacheprovider")
    result.stdout.fnmatch_lines(["*test_muon_is_much_earlier?muon-before-adamw-add-softmax?"])


def test_python_is_run_wherever_it_stands() -> None:
    """`test_example` runs the page on one's optimizer; the README's lines are those of the page on Python."""
    found = {topic for topic, page in PAGES.items() if blocks(page, "python")}
    assert found == {"check", "gate", "plug-ins", "pytest", "python", "your-optimizer"}
    (block,) = blocks(PAGES["gate"], "python")
    assert block.strip() in PAGES["your-optimizer"]
    space: dict[str, Any] = {}
    exec("\n".join(blocks(PAGES["check"], "python")), space)
    assert set(space["Mine"].grokbench_expected) <= set(checks.CHECKS)
    (readme,) = blocks(README, "python")
    said = [line.partition("  #")[0] for line in readme.splitlines() if line]
    page = "\n".join(blocks(PAGE, "python"))
    assert all(line in page or line.startswith("print(answer.status") for line in said)


def test_the_page_on_python_names_what_there_is() -> None:
    rows = re.findall(r"^\| ((?:`\w+`,? ?)+) \|", PAGE.partition("## All names")[2], re.M)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == gb.__all__


def test_the_script_of_an_own_optimizer_is_short() -> None:
    (script,) = [block for block in blocks(PAGE, "python") if "class Signed" in block]
    assert len([line for line in script.splitlines() if line]) <= 15
