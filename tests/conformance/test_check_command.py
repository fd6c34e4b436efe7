"""`check` as a command and as cases of pytest: what it says, and what it refuses."""

from __future__ import annotations

import json
import sys

import pytest

from grokbench import cli
from grokbench.cli import check
from grokbench.conformance import CHECKS


@pytest.fixture
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
def test_the_command_tells_what_breaks_and_exits_with_1(capsys):
    assert cli.main(["check", "adamw"]) == 0
    assert "decoupled" in capsys.readouterr().out
    assert cli.main(["check", "adamw", "plugins:RaisesAtOnce", "--json", "-"]) == 1
    out, err = capsys.readouterr()
    first, second = json.loads(out)["optimizers"]
    assert (first["conforms"], second["conforms"]) == (True, False)
    assert [f["check"] for f in second["findings"] if f["outcome"] == "breaks"] == ["runs"]
    assert "1 of 2 conform" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere:*", "cannot import 'nowhere': ModuleNotFoundError"),
        ("json:*", "json has no optimizer class"),
        ("adamv", "unknown optimizer 'adamv'"),
    ],
)
def test_what_cannot_be_checked_is_refused(text, message, capsys):
    assert cli.main(["check", text]) == 2
    assert message in capsys.readouterr().err


def test_a_star_is_every_class_of_a_module():
    names = check.expand("torch.optim:*")
    assert {"torch.optim:Adam", "torch.optim:SGD"} <= set(names)
    assert "torch.optim:Optimizer" not in names


def test_a_star_leaves_out_aliases_and_what_is_only_imported(tmp_path, monkeypatch):
    text = "from torch.optim import SGD, Optimizer as Root\nclass Mine(SGD):\n    pass\nAlias = Mine\n"
    (tmp_path / "starred.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert check.expand("starred:*") == ["starred:Mine"]


@pytest.mark.slow
def test_the_suite_has_a_case_for_each_check(pytester, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    command = ("-p", "no:cacheprovider", "--pyargs", "grokbench.suite.conformance", "--junitxml", "out.xml")
    result = pytester.runpytest_inprocess(*command, "--grok-optimizer", "test_conformance:Slanted")
    result.assert_outcomes(passed=len(CHECKS) - 3, failed=1, skipped=2)
    result.stdout.fnmatch_lines(["spectrum: largest over smallest singular value*"])
    xml = (pytester.path / "out.xml").read_text()
    assert 'name="grok_outcome" value="breaks"' in xml
    assert not (pytester.path / "grokbench.sqlite").exists()


def test_one_optimizer_is_too_few_for_claims(pytester):
    result = pytester.runpytest_inprocess(
        "-p", "no:cacheprovider", "--pyargs", "grokbench.suite", "--grok-optimizer", "sgd"
    )
    result.stdout.fnmatch_lines(["a comparison needs two optimizers, the baseline first, not only 'sgd'"])
    assert result.ret == pytest.ExitCode.INTERRUPTED
