"""The gate: its rule on made-up pairs, its answers on real training of seconds, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import PRESET

from grokbench import cli, gates
from grokbench.claims import Cell, presets
from grokbench.cli import gate as gate_command
from grokbench.gates import baseline as baselines
from grokbench.gates import gate
from grokbench.gates.decision import GateOutcome, Pairs, Times, decide, looks, rule
from grokbench.gates.setting import setting_of
from grokbench.spec import UsageError, task
from grokbench.training.local import Executor

NEVER = 101.0


def pairs(baseline, candidate, held=None, softmax="softmax", name="add"):
    b, c = (np.array(times, dtype=float) for times in (baseline, candidate))
    late = (b, c) if held is None else [np.array(times, dtype=float) for times in held]
    return Pairs(Cell(task(name, 7), softmax), NEVER, Times(b, late[0]), Times(c, late[1]))


def outcome(*cells: Pairs):
    return decide(cells, 0.1, 0.05)


TIMES = np.array([40.0, 50, 44, 61, 52, 47, 39, 58, 66, 41, 55, 49, 53, 45, 48, 60])


@pytest.mark.parametrize(
    ("factor", "expected"),
    [
        (1.0, GateOutcome.PASS),
        (0.6, GateOutcome.IMPROVED),
        (1.5, GateOutcome.REGRESSION),
        (1.1, GateOutcome.INCONCLUSIVE),
    ],
)
def test_what_times_a_factor_later_are(factor, expected):
    jitter = np.exp(np.linspace(-0.03, 0.03, 16))
    decision = outcome(pairs(TIMES, TIMES * factor * jitter))
    assert decision.outcome is expected
    assert decision.ratio == pytest.approx(factor, rel=0.01)
    assert (decision.more is None) == (expected is not GateOutcome.INCONCLUSIVE or factor == 1.1)


def test_sustained_times_are_guarded():
    decision = outcome(pairs(TIMES, TIMES * 0.8, held=(TIMES, TIMES * 1.6)))
    assert decision.outcome is GateOutcome.REGRESSION
    assert decision.reason.startswith("sustained grok times are more than 10% later, p ")


def test_a_sustained_time_that_is_open_keeps_it_from_passing():
    held = np.where(np.arange(16) % 2, TIMES * 0.7, TIMES * 1.4)
    assert outcome(pairs(TIMES, TIMES, held=(TIMES, held))).outcome is GateOutcome.INCONCLUSIVE


def test_grok_rates_are_guarded_where_most_runs_never_grok():
    never = np.full(16, NEVER)
    decision = outcome(pairs(np.full(16, 91.5), never))  # hardly later than the budget, and never
    assert decision.outcome is GateOutcome.REGRESSION
    assert "fewer runs grok, 0 instead of 16" in decision.reason
    assert "later" not in decision.reason
    assert outcome(pairs(never, never)).outcome is GateOutcome.INCONCLUSIVE


def test_cells_of_one_task_are_one_pair_each_replica():
    cells = [pairs(TIMES, TIMES, softmax=s) for s in ("softmax", "sparsemax")]
    one, two = outcome(cells[0]), outcome(*cells)
    assert one.tests == pytest.approx(two.tests)
    other = pairs(TIMES, TIMES, name="sub")
    assert outcome(cells[0], other).tests.fine == one.tests.fine  # shown in each of them


def test_a_minority_that_is_lost_by_far_keeps_it_from_passing():
    """A typical pair is within the margin, but a quarter of the candidate's runs never grok."""
    candidate = np.where(np.arange(16) % 4 == 3, NEVER, TIMES)
    decision = outcome(pairs(TIMES, candidate))
    assert decision.outcome is GateOutcome.INCONCLUSIVE
    assert decision.tests.few > 0.05
    few = outcome(pairs(TIMES[:8], TIMES[:8]))  # too few pairs to exclude it
    assert few.tests.fine < 0.05 < few.tests.few
    assert few.outcome is GateOutcome.INCONCLUSIVE


def test_one_bad_task_among_many_is_seen():
    good = [pairs(TIMES, TIMES, name=name) for name in ("add", "sub", "mul", "gcd")]
    assert outcome(*good).outcome is GateOutcome.PASS
    later = pairs(TIMES, np.minimum(TIMES * 1.3, NEVER), name="exp")
    assert outcome(*good, later).outcome is not GateOutcome.PASS
    assert outcome(*good, pairs(TIMES, np.minimum(TIMES * 1.8, NEVER), name="exp")).outcome is GateOutcome.REGRESSION


def test_the_level_holds_where_runs_are_censored_near_the_margin():
    """The candidate is exactly by the margin later, a share never groks, and the rest do close to the budget."""
    rng = np.random.default_rng(0)
    passed = 0
    for _ in range(200):
        times = np.where(rng.random((2, 24)) < 0.5, np.inf, rng.uniform(85, 90, (2, 24)))
        b, c = times[0], times[1] * 1.1
        b, c = (np.where(x >= NEVER, NEVER, x) for x in (b, c))
        passed += rule([pairs(b, c)], 0.1, 0.05)[1].fine <= 0.05
    assert passed <= 18  # 10 on average at the level; more than 18 with a probability of 1 %


def test_looks_grow_up_to_the_most():
    assert looks(48) == [8, 11, 16, 22, 31, 43, 48]
    assert looks(8) == [8]
    assert looks(3) == [3]


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
