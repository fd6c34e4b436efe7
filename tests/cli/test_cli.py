"""The command line as a user meets it: what it prints, what it refuses, how it exits."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from grokbench import cli
from grokbench.records import files
from grokbench.records.store import Store
from grokbench.spec import UsageError
from grokbench.training.local import Executor

ALONE = ["run", "--preset", "tiny", "--task", "add", "--softmax", "softmax", "--no-early-stop"]
SUPPORTED = [*ALONE, "--family", "selected"]
ANEW = [*SUPPORTED, "--store", "anew.sqlite"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tiny, tmp_path, monkeypatch, trained):
    """With a store that holds what most of these commands ask for."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(trained, "grokbench.sqlite")


def run(capsys, *arguments):
    code = cli.main(list(arguments))
    return code, *capsys.readouterr()


def test_a_supported_claim_exits_with_0_and_prints_its_table(capsys):
    code, out, _ = run(capsys, *SUPPORTED)
    assert code == 0
    assert "Does muon grok earlier than sgd?" in out
    assert "supported: earlier" in out
    assert "12 runs" in out


def test_a_cell_that_is_asked_alone_is_corrected_as_in_the_whole_table(capsys):
    """Else the best-looking of many cells could be asked again, and would be decided."""
    run(capsys, *ALONE[:3], "--no-early-stop", "--json", "table.json")
    _, out, _ = run(capsys, *ALONE, "--json", "alone.json")
    table, alone = (json.loads(Path(f"{name}.json").read_text())["verdicts"] for name in ("table", "alone"))
    assert [v["corrected_over"] for v in alone] == [4, 4]  # the cell, and the pool that is no other question
    assert all(v["status"] == "inconclusive" for v in alone)
    assert alone[0]["p"] == table[0]["p"] == 2**-6
    assert "p is corrected over the 4 cells that could have been asked, not only over the 1 here" in out
    assert "--family selected" in out
    _, out, _ = run(capsys, *SUPPORTED)
    assert "supported: earlier" in out
    assert "could have been asked" not in out


def test_a_refuted_claim_exits_with_1(capsys):
    code, out, _ = run(capsys, *SUPPORTED, "--optimizer", "muon", "--optimizer", "sgd")
    assert code == 1
    assert "refuted: later" in out


def test_an_undecided_claim_exits_with_0_or_with_3_under_strict(capsys):
    arguments = [*SUPPORTED, "--replicas", "2"]
    code, out, _ = run(capsys, *arguments)
    assert code == 0
    assert "2 pairs cannot decide: the smallest possible adjusted p is 0.25" in out
    assert run(capsys, *arguments, "--strict")[0] == 3


def test_the_second_call_answers_from_the_store(capsys, monkeypatch):
    _, first, _ = run(capsys, *ANEW)
    monkeypatch.setattr(Executor, "records", lambda *_: pytest.fail("trained again"))
    assert run(capsys, *ANEW)[1] == first


def test_fresh_trains_anew_to_the_same_bits(capsys):
    before = _rows(Path("grokbench.sqlite"))
    run(capsys, *SUPPORTED, "--fresh")
    after = _rows(Path("grokbench.sqlite"))
    assert [r[:2] for r in before] == [r[:2] for r in after]
    assert sum(old[2] < new[2] for old, new in zip(before, after, strict=True)) == 12


def _rows(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT digest, curves, finished FROM runs ORDER BY digest").fetchall()


def test_json_does_not_overwrite_a_store(tmp_path):
    path = tmp_path / "store.sqlite"
    Store(path).close()
    with pytest.raises(UsageError, match="is a database; it was left as it is"):
        files.check(str(path))


def test_json_goes_into_a_pipe_or_device_and_does_not_replace_it(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_text)
        files.write_line(str(pipe), [1])
        assert read.result(10) == "[1]\n"
    assert pipe.is_fifo()


def test_json_has_the_documented_form(capsys):
    code, out, err = run(capsys, *SUPPORTED, "--json", "-")
    document = json.loads(out)
    assert code == 0
    assert "supported" in err  # the table makes way
    assert set(document) == {"verdicts", "runs", "provenance"}
    cell, pooled = document["verdicts"]
    assert cell["cell"] == {"task": "add", "softmax": "softmax"}
    assert pooled["cell"] is None
    assert cell["arms"] == ["sgd", "muon"]
    assert (cell["status"], cell["pairs"], cell["p"]) == ("supported", 6, 2**-6)
    assert cell["grokked"] == {"sgd": 0, "muon": 6}
    assert cell["median"]["sgd"] is None
    assert len(document["runs"]) == 12
    assert {r["arm"] for r in document["runs"]} == {"sgd", "muon"}
    assert len(document["provenance"]) == 1
    run(capsys, *SUPPORTED, "--json", "out.json")
    assert json.loads(Path("out.json").read_text()) == document


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset", "smoky"], "unknown preset 'smoky': choose from smoke, ci, paper"),
        (["--preset", "smoke", "--task", "ad"], "unknown task of preset smoke 'ad': choose from add"),
        (["--softmax", "hardmax"], "unknown softmax of preset ci 'hardmax': choose from softmax, stablemax, sparsemax"),
        (["--optimizer", "adam", "--optimizer", "muon"], "unknown optimizer 'adam': choose from adamw, muon, sgd"),
        (["--optimizer", "muon"], "a comparison needs two optimizers, the baseline first, not only 'muon'"),
        (["--optimizer", "muon", "--optimizer", "muon"], "'muon' is named twice"),
        (
            ["--optimizer", "muon(lr=-1)", "--optimizer", "adamw"],
            "muon: lr must be finite and not negative, not -1",
        ),
        (["--optimizer", "nowhere:Opt", "--optimizer", "adamw"], "cannot import the optimizer 'nowhere:Opt'"),
        (["--replicas", "0"], "replicas must be at least 1 and at most 10000, not 0"),
        (["--replicas", "100000000000"], "replicas must be at least 1 and at most 10000, not 100000000000"),
        (["--threads", "0"], "threads must be at least 1 and at most "),
        (["--threads", "100000"], "threads must be at least 1 and at most "),
        (["--device", "tpu"], "unknown device 'tpu': choose from auto, cpu, cuda"),
        (["--json", "no/such/folder.json"], "cannot write no/such/folder.json"),
        (["--store", "."], " is a folder: give a file as the store"),
        (["--optimizer", f"muon(lr=1{'0' * 400})", "--optimizer", "adamw"], "muon: lr must be finite and not negative"),
    ],
)
def test_bad_input_gets_one_line_and_code_2(capsys, arguments, message):
    code, out, err = run(capsys, "run", *arguments)
    assert code == 2
    assert out == ""
    assert message in err
    assert err.startswith("grokbench: error: ")
    assert err.count("\n") == 1


def test_cuda_is_refused_where_there_is_none(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, err = run(capsys, *ANEW, "--device", "cuda")
    assert code == 2
    assert "no CUDA device is available here" in err
    assert not Path("anew.sqlite").exists()


def test_a_store_that_is_not_ours_is_left_alone(capsys):
    Path("notes.txt").write_text("important " * 1000)
    code, _, err = run(capsys, *SUPPORTED, "--store", "notes.txt")
    assert code == 2
    assert "notes.txt is not a grokbench store" in err
    assert Path("notes.txt").read_text() == "important " * 1000


def test_an_optimizer_of_a_package_that_knows_nothing_of_us_goes_the_whole_way(capsys):
    lion = "pytorch_optimizer:Lion(lr=0.005, weight_decay=0.1)"
    code, out, _ = run(capsys, *SUPPORTED, "--optimizer", "sgd", "--optimizer", lion)
    assert code == 0
    assert "Does Lion grok earlier than sgd?" in out
    assert "supported: earlier" in out


def test_an_optimizer_that_fails_is_a_usage_error_and_keeps_what_is_finished(capsys):
    before = _rows(Path("grokbench.sqlite"))
    code, _, err = run(capsys, *SUPPORTED, "--optimizer", "sgd", "--optimizer", "plugins:Raises(lr=0.1)")
    assert code == 2
    assert "the optimizer plugins:Raises failed at step" in err
    assert "Traceback" not in err
    assert _rows(Path("grokbench.sqlite")) == before


def test_a_failing_machine_is_neither_a_verdict_nor_data(capsys, monkeypatch):
    def fail(*_):
        raise MemoryError("planted")

    monkeypatch.setattr("grokbench.engine.ensemble.Ensemble.train", fail)
    code, _, err = run(capsys, *ANEW)
    assert code == 4
    assert "the machine failed: MemoryError: planted" in err
    assert _rows(Path("anew.sqlite")) == []


def test_settings_of_the_folder_we_are_in_do_not_matter(capsys, monkeypatch):
    Path("pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    Path("conftest.py").write_text("raise RuntimeError\n")
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    assert run(capsys, *SUPPORTED)[0] == 0
    assert os.environ["PYTEST_ADDOPTS"] == "--no-such-option"


def test_an_optimizer_may_lie_in_the_folder_we_are_in(capsys, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path[:])
    Path("own_opt.py").write_text("from torch.optim import SGD\n")
    code, out, _ = run(capsys, *SUPPORTED, "--optimizer", "sgd", "--optimizer", "own_opt:SGD(lr=0.5)")
    assert code == 0
    assert "Does SGD grok earlier than sgd?" in out


def test_signs_that_a_terminal_does_not_have_do_no_harm():
    command = [sys.executable, "-c", _MAIN, "list", "softmaxes"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONIOENCODING": "ascii"}
    subprocess.run([*command[:3], "run", "--help"], env=environment, check=True, capture_output=True)
    assert b"1/(1 - z)" in subprocess.run(command, env=environment, check=True, capture_output=True).stdout


@pytest.mark.parametrize("what", ["tasks", "softmaxes", "optimizers", "presets", "claims"])
def test_list_names_what_there_is(capsys, what):
    expected = {
        "tasks": ("add", "sub", "mul", "div", "exp", "gcd", "parity"),
        "softmaxes": ("softmax", "stablemax", "sparsemax"),
        "optimizers": ("adamw", "muon", "sgd", "package.module:Attribute"),
        "presets": ("smoke", "ci", "paper"),
        "claims": ("muon-before-adamw",),
    }[what]
    code, out, _ = run(capsys, "list", what)
    assert code == 0
    assert all(any(line.startswith(name) for line in out.splitlines()) for name in expected)


def test_doctor_describes_the_machine(capsys):
    code, out, _ = run(capsys, "doctor")
    assert code == 0
    for name in ("grokbench", "python", "torch", "processor", "threads", "cuda", "compiler", "triton"):
        assert name in out


def test_a_killed_run_and_a_second_call_give_the_records_of_an_undisturbed_one(capsys):
    arguments = ["run", "--preset", "tiny", "--softmax", "softmax", "--no-early-stop", "--store", "killed.sqlite"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", _MAIN, *arguments]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    while process.poll() is None and not _some(Path("killed.sqlite")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    Store("killed.sqlite").close()
    survived = len(_rows(Path("killed.sqlite")))
    assert 0 < survived < 24
    assert run(capsys, *arguments)[0] == 0
    after = {digest: curves for digest, curves, _ in _rows(Path("killed.sqlite"))}
    assert len(after) == 24
    undisturbed = {digest: curves for digest, curves, _ in _rows(Path("grokbench.sqlite"))}
    assert all(undisturbed[digest] == curves for digest, curves in after.items())


_MAIN = "import sys, tiny; tiny.pytest_configure(); from grokbench.cli import main; sys.exit(main(sys.argv[1:]))"


def _some(path):
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as db:
            return db.execute("SELECT count(*) FROM runs").fetchone()[0] > 0
    except sqlite3.OperationalError:
        return False
