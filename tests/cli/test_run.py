"""`run` and the pytest suite are two faces of one session."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

# pytester forgets what is first imported inside, and numpy cannot be loaded twice.
import grokbench.report.export
import grokbench.training.local
import grokbench.verdicts.verdict  # noqa: F401
from grokbench import cli
from grokbench.session import Session


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tiny, pytester, trained):
    """`pytester` moves into one."""
    shutil.copy(trained, "grokbench.sqlite")


ASKED = ("preset=tiny", "task=add", "softmax=softmax", "family=selected")
RUN = ("run", *(f"--{option}" for option in ASKED))


def test_run_and_the_suite_give_the_same_verdicts_on_one_store(pytester, capsys):
    assert cli.main([*RUN, "--store=s.sqlite", "--json=run.json"]) == 0
    suite = (*(f"--grok-{option}" for option in ASKED), "--grok-store=s.sqlite", "--grok-json=suite.json")
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider", "--pyargs", "grokbench.suite", *suite)
    result.assert_outcomes(passed=2)
    ours, theirs = (json.loads(Path(f"{name}.json").read_text()) for name in ("run", "suite"))
    assert ours == theirs
    assert [v["status"] for v in ours["verdicts"]] == ["supported", "supported"]


def test_json_is_written_where_no_terminal_is(pytester):
    suite = (*(f"--grok-{option}" for option in ASKED), "--grok-json=suite.json")
    pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:terminal", "--pyargs", "grokbench.suite", *suite)
    assert len(json.loads(Path("suite.json").read_text())["verdicts"]) == 2


def test_a_store_that_may_only_be_read_answers_what_it_has(pytester, capsys, monkeypatch):
    real, before = os.access, Path("grokbench.sqlite").read_bytes()
    # A test that runs as root may write everything.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "grokbench.sqlite" and real(path, mode))
    assert cli.main([*RUN]) == 0
    assert "supported: earlier" in capsys.readouterr().out
    suite = (*(f"--grok-{option}" for option in ASKED), "--pyargs", "grokbench.suite")
    pytester.runpytest_inprocess("-p", "no:cacheprovider", *suite).assert_outcomes(passed=2)
    assert cli.main([*RUN, "--optimizer=sgd", "--optimizer=adamw"]) == 2
    assert "grokbench.sqlite, and it lacks 6 or more of the runs" in capsys.readouterr().err
    assert Path("grokbench.sqlite").read_bytes() == before


def test_an_interrupted_fresh_run_shows_no_verdicts_of_before(capsys, monkeypatch):
    assert cli.main([*RUN]) == 0
    assert "supported: earlier" in capsys.readouterr().out

    def interrupt(session):
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "train", interrupt)
    assert cli.main([*RUN, "--fresh"]) == 130
    out, err = capsys.readouterr()
    assert "supported" not in out
    assert "interrupted; finished runs are in the store" in err
