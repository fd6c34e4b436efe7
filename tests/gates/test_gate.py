"""The gate: its answers on real training of seconds, and what it refuses."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny import PRESET

from grokbench import cli, gates
from grokbench.claims import presets
from grokbench.cli import gate as gate_command
from grokbench.gates import baseline as baselines
from grokbench.gates import gate
from grokbench.gates.setting import setting_of
from grokbench.report.gate import beside
from grokbench.spec import UsageError
from grokbench.spec.registry import parse
from grokbench.training.local import Executor

ONE = ["--preset", "tiny", "--task", "add", "--softmax", "softmax"]


@pytest.fixture(scope="module")
def gated(tmp_path_factory):
    """A store with the runs of two gates."""
    store = tmp_path_factory.mktemp("gated") / "store.sqlite"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "tiny", PRESET)
        for candidate, code in (("muon(eps=2e-8)", 0), ("sgd", 1)):
            command = ["gate", *ONE, "--baseline", "muon", "--candidate", candidate, "--store", str(store)]
            assert cli.main(command) == code
    return store


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tiny, tmp_path, monkeypatch, gated):
    monkeypatch.chdir(tmp_path)
    shutil.copy(gated, "grokbench.sqlite")


def run(capsys, *arguments):
    code = cli.main(["gate", *arguments])
    return code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("baseline", "candidate", "code", "word"),
    [
        ("adamw", "adamw(lr=0.02)", 0, "PASS: the same settings and sources, so both arms are one"),
        ("muon", "muon(eps=2e-8)", 0, "PASS: first crossings and sustained times are within 10%"),
        ("sgd", "muon", 0, "IMPROVED: earlier, p "),
        ("muon", "sgd", 1, "REGRESSION: first crossings are more than 10% later"),
    ],
)
def test_the_command_on_real_training(capsys, baseline, candidate, code, word):
    found, out, _ = run(capsys, *ONE, "--baseline", baseline, "--candidate", candidate, "--json", "out.json")
    assert found == code
    assert word in out
    document = json.loads(Path("out.json").read_text())
    assert document["outcome"] == word.partition(":")[0]
    assert document["identical"] == ("both arms are one" in word)
    assert len(document["runs"]) == (0 if document["identical"] else 32 if document["outcome"] == "PASS" else 16)


@pytest.fixture
def only_read(monkeypatch):
    """The store may be read alone, as far as it is asked; a test that runs as root may write everything."""
    real, before = os.access, Path("grokbench.sqlite").read_bytes()
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "grokbench.sqlite" and real(path, mode))
    yield
    assert Path("grokbench.sqlite").read_bytes() == before


@pytest.mark.usefixtures("only_read")
def test_a_store_that_may_only_be_read_answers_what_it_has(capsys, monkeypatch):
    assert run(capsys, *ONE, "--baseline=muon", "--candidate=sgd")[0] == 1
    monkeypatch.setattr(Executor, "records", fail)  # nothing is trained that could not be kept
    lacks = "cannot write the store"
    for command in (
        ["gate", *ONE, "--baseline=muon", "--candidate=muon(eps=3e-8)"],
        ["baseline", "save", "b.json", *ONE, "--optimizer=muon(eps=3e-8)"],
        ["sweep", *ONE, "--optimizer=muon"],
    ):
        assert cli.main(command) == 2
        assert re.search(rf"{lacks} .*grokbench.sqlite, and it lacks \d+ or more of the runs", capsys.readouterr().err)


def test_a_store_that_cannot_be_made_is_said_before_anything_is_trained(capsys, monkeypatch):
    monkeypatch.setattr("grokbench.training.golden.golden", fail)
    for command in (
        ["gate", *ONE, "--baseline=muon", "--candidate=sgd", "--store=missing/store.sqlite"],
        ["baseline", "save", "b.json", *ONE, "--optimizer=muon", "--store=missing/store.sqlite"],
    ):
        assert cli.main(command) == 2
        assert "missing for the store store.sqlite: make it first" in capsys.readouterr().err


def fail(*_: object) -> None:
    raise AssertionError


def test_what_is_inconclusive_says_what_it_needs(capsys):
    arguments = [*ONE, "--baseline", "muon", "--candidate", "muon(eps=2e-8)", "--max-pairs", "2"]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    said = " ".join(out.split())
    assert "INCONCLUSIVE: first crossings are not yet shown to be within 10%: 2 of 2 pairs are; time ratio 1.00" in said
    assert "more pairs would decide" in said
    assert run(capsys, *arguments, "--strict")[0] == 3


def save(*arguments):
    return cli.main(["baseline", "save", "b.json", *ONE, "--optimizer", "muon", "--pairs", "8", *arguments])


@pytest.mark.slow
def test_a_saved_baseline_answers_without_being_trained(capsys, monkeypatch):
    assert save() == 0
    assert "b.json: 8 runs of muon in add-softmax, tiny" in capsys.readouterr().out
    Path("grokbench.sqlite").unlink()
    trained = []
    records = Executor.records
    monkeypatch.setattr(Executor, "records", lambda self, runs: trained.extend(runs) or records(self, runs))
    code, out, _ = run(capsys, "--baseline", "b.json", "--candidate", "muon(weight_decay=1)")
    assert (code, "PASS: bit-identical to the baseline over 2 whole runs" in out) == (0, True)
    assert len(trained) == 2  # the candidate's alone
    assert run(capsys, "--baseline", "b.json", "--candidate", "sgd", "--max-pairs", "48")[0] == 1
    assert {run.optimizer.name for run in trained[2:]} == {"sgd"}
    assert len(set(trained[2:])) == 8
    origin = json.loads(Path("b.json").read_text())["provenance"]
    elsewhere = altered(provenance={**origin, "arithmetic": "AVX512, of another machine"})
    code, out, _ = run(capsys, "--baseline", elsewhere, "--candidate", "muon(weight_decay=1)", "--json", "out.json")
    assert (code, "bit-identical" in out) == (0, False)
    assert "In 8 of 8 pairs the arms were trained by unlike arithmetic, so no bits were compared." in out
    assert json.loads(Path("out.json").read_text())["pairs_of_unlike_arithmetic"] == 8


def altered(**changes):
    content = json.loads(Path("b.json").read_text())
    Path("c.json").write_text(json.dumps({**content, **changes}))
    return "c.json"


def damaged(field, value):
    runs = json.loads(Path("b.json").read_text())["runs"]["add-softmax"]
    runs[0][field] = value
    return runs


def test_a_baseline_that_does_not_match_is_refused_with_the_reason(capsys, tiny, monkeypatch):
    save()
    capsys.readouterr()
    cases: list[tuple[dict[str, Any], list[str], str]] = [
        ({"format": "x"}, [], "c.json is not a baseline"),
        ({"version": 1}, [], "is of version 1, and this is version 3: save it anew"),
        ({"engine": 1}, [], "is of engine 1, and this is engine"),
        ({"device": "cuda"}, [], "was made with device cuda, and this is cpu"),
        ({}, ["--preset", "smoke"], "was made with preset tiny, and this is smoke"),
        ({}, ["--budget", "50"], "was made with budget 60, and this is 50"),
        ({}, ["--task", "gcd"], "has no runs of gcd-softmax"),
        ({"runs": {"add-softmax": [[1]]}}, [], "is a damaged baseline"),
        ({"runs": {"add-softmax": damaged("epochs", "x")}}, [], "GrokTime.epochs cannot be 'x'"),
        (
            {"runs": {"add-softmax": damaged("first", 9999)}},
            [],
            "is a damaged baseline: ValueError: a run cannot have [",
        ),
        ({"runs": {"add-softmax": damaged("first", None)}}, [], "a run that grokked has no first crossing"),
        ({"golden": {}}, [], "is a damaged baseline"),
    ]
    for changes, options, message in cases:
        code, _, err = run(capsys, "--baseline", altered(**changes), "--candidate", "muon", *options)
        assert code == 2
        assert message in err
    monkeypatch.setitem(presets.PRESETS, "tiny", replace(tiny, batch=8))
    assert run(capsys, "--baseline", "b.json", "--candidate", "muon")[0] == 2
    Path("d.json").write_text('{"format": ')
    assert "it is no JSON, or cut off" in run(capsys, "--baseline", "d.json", "--candidate", "muon")[2]
    Path("d.json").write_text("[1]")
    assert "is not a baseline" in run(capsys, "--baseline", "d.json", "--candidate", "muon")[2]
    assert "there is no file e.json" in run(capsys, "--baseline", "e.json", "--candidate", "muon")[2]


def test_a_baseline_file_of_the_version_before_is_read(capsys):
    save()
    new = json.loads(Path("b.json").read_text())
    old = {
        **new,
        "version": 2,
        "runs": {cell: [list(run.values()) for run in runs] for cell, runs in new["runs"].items()},
    }
    Path("old.json").write_text(json.dumps(old))
    assert list(new["runs"]["add-softmax"][0])[:3] == ["digest", "bits", "outcome"]
    setting = setting_of("tiny", ("add",), ("softmax",), None, "cpu", "grokbench.sqlite", 1)
    assert baselines.from_file("", baselines.read("old.json"), setting) == baselines.from_file("", new, setting)


@pytest.mark.slow
def test_a_store_is_a_baseline_if_it_has_one_optimizer(capsys):
    save("--store", "s.sqlite")
    capsys.readouterr()
    code, out, _ = run(capsys, *ONE, "--baseline", "s.sqlite", "--candidate", "muon", "--store", "t.sqlite")
    assert (code, "bit-identical" in out) == (0, True)
    cli.main(["baseline", "save", "b.json", *ONE, "--optimizer", "sgd", "--pairs", "1", "--store", "s.sqlite"])
    code, _, err = run(capsys, *ONE, "--baseline", "s.sqlite", "--candidate", "muon")
    assert code == 2
    assert "has runs of 2 optimizers" in err
    message = "has no runs of preset tiny in gcd-softmax"
    gcd = ["--preset", "tiny", "--task", "gcd", "--softmax", "softmax"]
    assert message in run(capsys, *gcd, "--baseline", "s.sqlite", "--candidate", "muon")[2]


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--margin", "0"], "margin must lie between 0 and 10, not 0"),
        (["--level", "0.6"], "level must lie between 0 and 0.5, not 0.6"),
        (["--max-pairs", "0"], "max-pairs must be at least 1"),
        (["--budget", "0"], "budget must be at least 1 epoch, not 0"),
        (["--preset", "small"], "unknown preset 'small'"),
        (["--task", "ad"], "unknown task of preset tiny 'ad'"),
    ],
)
def test_bad_values_are_refused(capsys, option, message):
    code, _, err = run(capsys, "--preset", "tiny", "--baseline", "muon", "--candidate", "sgd", *option)
    assert code == 2
    assert message in err


def test_what_a_text_stands_for(tmp_path):
    Path("muon").write_text("{}")
    Path("mine").write_text("{}")
    assert baselines.kind_of("muon") == "spec"
    assert baselines.kind_of("a.b:C") == "spec"
    assert baselines.kind_of("mine") == "file"
    with pytest.raises(UsageError, match=r"there is no file x\.json"):
        baselines.kind_of("x.json")


def test_the_answer_is_an_object_that_a_test_can_ask(tmp_path):
    result = gates.run(
        gates.Request("muon", "muon(lr=0.05)", "tiny", ("add",), ("softmax",), store=tmp_path / "s.sqlite")
    )
    assert result.passed
    assert repr(result).startswith("PASS: the same settings")
    assert result.differs == 0


def test_the_fixture_refuses_without_a_traceback(pytester):
    pytester.makepyfile(
        """
        def test_file(grok_gate):
            grok_gate(baseline="nosuch.json", candidate="muon")
        def test_name(grok_gate):
            grok_gate(baseline="muon", candidate="muon", pairs=3)
        """
    )
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["there is no file nosuch.json", "unknown argument 'pairs': choose from baseline, *"])
    result.stdout.no_fnmatch_line("*During handling*")


def test_a_misspelt_option_names_the_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        run(capsys, "--baseline", "muon", "--candidate", "sgd", "--budgt", "60")
    assert exit_.value.code == 2
    assert (
        "grokbench gate: error: unrecognized arguments: --budgt 60; see grokbench gate --help"
        in capsys.readouterr().err
    )


def test_git_bisect_is_told_what_to_skip(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = {0: 0, 1: 1, 2: 125, 3: 125, 4: 125, 130: 130}
    assert {code: gate_command.bisected(code) for code in told} == told
    assert cli.main(["gate", "--bisect", "--baseline"]) == 125  # an argument is missing
    assert cli.main(["gate", "--bisect", "--baseline", "adamv", "--candidate", "muon"]) == 125
    assert "unknown optimizer 'adamv'" in capsys.readouterr().err
    assert cli.main(["gate", "--help", "--bisect"]) == 0


def test_a_baseline_of_another_model_is_asked_for_with_it():
    content = {"preset": "smoke", "budget": 3, "cells": [["add", "softmax"]], "model": "mlp(width=16)"}
    setting = gate._setting(gates.Request("saved.json", "adamw"), content)
    assert str(setting.preset.model).startswith("mlp(")
    assert setting.model == "mlp(width=16)"
    other = gate._setting(gates.Request("saved.json", "adamw", model="mlp(width=32)"), content)
    assert "width=32" in str(other.preset.model)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("command", ["gate", "run", "sweep"])
def test_the_answer_is_printed_also_below_a_live_display(capsys, monkeypatch, command):
    """A live display takes standard output for its own, and gives it back when it ends."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    asked = {
        "gate": ["--baseline", "sgd", "--candidate", "sgd(lr=0.2)", "--max-pairs", "1", "--budget", "3"],
        "run": ["--optimizer", "sgd", "--optimizer", "sgd(lr=0.2)", "--budget", "3", "--replicas", "2"],
        "sweep": ["--preset", "tiny", "--optimizer", "sgd", "--grid", "lr=0.1", "weight_decay=0", "--replicas", "1"],
    }[command]
    cell = ["--preset", "tiny", "--task", "add", "--softmax", "softmax"] if command != "sweep" else []
    code = cli.main([command, *cell, *asked, "--store", "fresh.sqlite"])
    assert "\x1b[" in sys.stderr.getvalue(), "the display was live"
    out = capsys.readouterr().out
    assert code in (0, 1)
    assert "sgd" in out
    assert len(out.splitlines()) >= 3


@pytest.mark.parametrize(
    ("candidate", "baseline", "shown"),
    [
        ("sgd(lr=0.2)", "sgd(lr=0.1)", "the same with lr=0.2"),
        ("sgd(lr=0.1)", "sgd(lr=0.1, warmup=3)", None),  # its warm-up is gone
        ("sgd(lr=0.1, filter='grokfast')", "sgd(lr=0.1, warmup=3)", None),
        ("sgd(lr=0.1)", "sgd(lr=0.1)", None),
        ("adamw", "sgd(lr=0.1)", None),
    ],
)
def test_a_candidate_is_shown_by_what_is_other_about_it(candidate, baseline, shown):
    assert beside(parse(candidate), parse(baseline)) == (shown or str(parse(candidate)))
