"""The guide's page on Python: its blocks run, one after the other, on tiny runs, and its list of names is complete."""

from __future__ import annotations

import dataclasses
import linecache
import re
from pathlib import Path
from typing import Any

import pytest
from documents import PAGES, blocks
from tiny import PRESET

import grokbench as gb
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
    monkeypatch.setattr(checks, "CHECKS", {name: checks.CHECKS[name] for name in ("runs", "gradients missing")})
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


def test_the_page_on_python_names_what_there_is() -> None:
    rows = re.findall(r"^\| ((?:`\w+`,? ?)+) \|", PAGE.partition("## All names")[2], re.M)
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)`", row)) == gb.__all__


def test_the_script_of_an_own_optimizer_is_short() -> None:
    (script,) = [block for block in blocks(PAGE, "python") if "class Signed" in block]
    assert len([line for line in script.splitlines() if line]) <= 15
