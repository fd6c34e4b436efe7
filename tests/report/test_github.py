"""What GitHub Actions is told: step summaries under their limit, and at most ten annotations."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from grokbench import cli
from grokbench.conformance import CHECKS
from grokbench.report import github
from grokbench.report.github import Note


@pytest.fixture
def actions(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return tmp_path / "summary.md"


def published(title="t", body="b", notes=()):
    out = io.StringIO()
    github.publish(title, body, notes, out)
    return out.getvalue()


def test_outside_of_actions_nothing_happens(monkeypatch, tmp_path):
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert published(notes=[Note("error", "x", "y")]) == ""
    assert list(tmp_path.iterdir()) == []


def test_summaries_are_appended_and_stay_under_the_limit(actions):
    published("one", "first")
    published("two", "line of ä\n" * 200_000)
    content = actions.read_bytes()
    assert content.startswith("### one\n\nfirst\n### two\n\nline of ä\n".encode())
    assert github.SUMMARY_BYTES - 50 < len(content) <= github.SUMMARY_BYTES
    assert content.decode().endswith("line of ä\n\n(cut here: a step's summary has a size limit)\n")
    published("three", "more")
    assert actions.read_bytes() == content


@pytest.mark.parametrize("kind", ["missing", "folder", "device", "pipe", "unwritable", "endless name"])
def test_a_summary_that_cannot_be_written_costs_no_verdict(kind, tmp_path, monkeypatch, capsys):
    path = tmp_path / "summary.md"
    if kind == "missing":
        path = tmp_path / "none" / "summary.md"
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path = Path("/dev/tty")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "unwritable":
        path.write_text("before\n")
        path.chmod(0o400)
        if os.access(path, os.W_OK):  # the superuser may write anyway
            path = Path("/proc/version")
    elif kind == "endless name":
        path = tmp_path / ("x" * 300)
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(path))
    assert published(notes=[Note("error", "x", "y")]) == "::error title=x::y\n"
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"grokbench: warning: no summary of this step in GITHUB_STEP_SUMMARY={path}: ")


def test_a_summary_takes_any_text_and_begins_on_a_line_of_its_own(actions):
    actions.write_text("no end")
    published("t", "a lone \udc80")
    assert actions.read_text() == "no end\n### t\n\na lone \\udc80\n"


def test_tables_keep_their_cells_apart():
    assert github.table(["a", "b"], [["x|y", "<z>\n&"]]) == "| a | b |\n| --- | --- |\n| x&#124;y | &lt;z> &amp; |\n"


@pytest.mark.usefixtures("actions")
def test_annotations_are_escaped_and_errors_come_first():
    lines = published(notes=[Note("notice", "n", "n"), Note("error", "a:b,c", "50 %\nof")]).splitlines()
    assert lines == ["::error title=a%3Ab%2Cc::50 %25%0Aof", "::notice title=n::n"]


@pytest.mark.usefixtures("actions")
def test_there_are_at_most_ten_annotations():
    lines = published(notes=[Note("error", "x", str(i)) for i in range(12)]).splitlines()
    assert len(lines) == 10
    assert lines[-1].endswith("::and 3 more, in the step's summary")
    assert len(published(notes=[Note("error", "x", str(i)) for i in range(10)]).splitlines()) == 10


def test_a_run_tells_once_and_annotates_what_is_asserted(actions, capsys, tiny, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    run = ["run", "--preset", "tiny", "--task", "add", "--softmax", "softmax", "--no-early-stop"]
    run += ["--family", "selected"]
    assert cli.main([*run, "--optimizer", "muon", "--optimizer", "sgd"]) == 1
    out = capsys.readouterr().out
    assert out.count("::error title=sgd-before-muon[add-softmax]") == 1
    summary = actions.read_text()
    assert summary.count("### grokbench: claims") == 1
    assert "| sgd-before-muon | add-softmax |" in summary


def test_the_plugin_tells_of_conformance(actions, pytester):
    command = ("-p", "no:cacheprovider", "--pyargs", "grokbench.suite.conformance", "-k", "spectrum")
    result = pytester.runpytest_inprocess(*command, "--grok-optimizer", "muon(ns_steps=1)")
    result.assert_outcomes(failed=1, deselected=len(CHECKS) - 1)
    assert "::error title=muon(ns_steps=1)::spectrum: largest over" in result.stdout.str()
    assert "| muon(ns_steps=1) | spectrum | breaks |" in actions.read_text()
