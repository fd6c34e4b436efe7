"""The Python API: its names, answers as objects, its failures, and that it leaves everything else as it was."""

from __future__ import annotations

import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from plugins import Base, Raises
from stored import MACHINE
from tiny import PRESET

import grokbench as gb
from grokbench import perf
from grokbench.claims import presets
from grokbench.engine.ensemble import Ensemble
from grokbench.perf.race import result
from grokbench.report import progress
from grokbench.report.answers import Answer
from grokbench.training.local import Progress

NUMBER: Any = 3
EXAMPLE: dict[str, Any] = {"preset": "tiny", "tasks": "add", "softmaxes": "softmax", "family": "selected", "threads": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api") / "store.sqlite"


@pytest.fixture(autouse=True)
def _tiny(tiny: presets.Preset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def answer(store: Path) -> Iterator[Answer]:
    """An optimizer of this very function against one that never learns."""

    class Own(Base):
        def change(self, p: torch.nn.Parameter, lr: float) -> None:
            p.sub_(p.grad * lr)

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "tiny", PRESET)
        yield gb.compare("sgd", gb.optimizer(Own, lr=0.5), store=store, **EXAMPLE)


def test_importing_is_quick_and_brings_no_torch() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import grokbench; took = time.perf_counter() - start; "
        "print(took, {'torch', 'numpy', 'pandas', 'rich'} & set(sys.modules))"
    )
    environment = {"PYTHONPATH": str(Path(gb.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    took, brought = done.stdout.split(maxsplit=1)
    assert float(took) < 0.1
    assert brought.strip() == "set()"


def test_every_name_is_there_and_is_documented() -> None:
    for name in gb.__all__:
        assert getattr(gb, name).__doc__ or sys.flags.optimize > 1, name
    assert set(gb.__all__) <= set(dir(gb))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        gb.nothing  # noqa: B018


def test_names_are_no_rooms() -> None:
    """Importing a room would put it in the place of the name."""
    rooms = {path.stem for path in Path(gb.__file__).parent.iterdir()}
    assert not rooms & set(gb.__all__)


def test_an_answer_has_the_verdicts(answer: Answer) -> None:
    assert answer.status is gb.Status.SUPPORTED
    assert answer.ratio == answer.verdict.ratio
    assert answer.interval
    assert answer.interval[1] < 1
    assert answer.reason.startswith("Own is earlier: ")
    assert answer.p == answer.verdict.p_adjusted < 0.05
    cell = answer["add", "softmax"]
    assert str(cell).startswith("add-softmax: supported: ")
    assert isinstance(cell, gb.Verdict)
    assert cell.cell is not None
    assert answer.of("Own").status is answer.status
    for wrong in (lambda: answer["add", "sparsemax"], lambda: answer.of("muon")):
        with pytest.raises(gb.UsageError, match="choose from"):
            wrong()


def test_an_answer_shows_itself(answer: Answer) -> None:
    text = str(answer)
    assert text.startswith("Yes: Own groks earlier than sgd, at less than 0.")
    assert repr(answer) == text
    html = answer._repr_html_()
    assert ">Yes:</span> Own groks earlier than sgd" in html
    assert html.count("<table") == html.count("</table>") == 1
    assert '<td style="text-align: left; padding: 0 0.6em">softmax</td>' in html


def test_frames_have_a_row_a_run_and_a_row_an_evaluation(answer: Answer) -> None:
    frame, curves = answer.frame(), answer.curves()
    assert len(frame) == len(answer.runs) == frame["digest"].nunique()
    assert set(frame["arm"]) == {"sgd", "Own"}
    assert frame[frame["arm"] == "sgd"]["first"].isna().all()
    assert (frame[frame["arm"] == "Own"]["first"] <= PRESET.criterion.budget).all()
    assert len(curves) == sum(len(record.trace.epoch) for _, _, record in answer.runs)
    assert {"arm", "task", "softmax", "replica", "epoch", "validation_accuracy", "train_loss"} <= set(curves)


def test_without_pandas_a_frame_is_refused_in_one_line(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    for ask in (answer.frame, answer.curves):
        with pytest.raises(gb.UsageError, match=r"^a frame needs pandas: pip install 'grokbench\[frame\]'$"):
            ask()


def test_several_candidates_are_told_apart(answer: Answer, store: Path) -> None:
    both = Answer([*answer.verdicts, *gb.compare("sgd", "sgd(lr=0.001)", store=store, replicas=1, **EXAMPLE).verdicts])
    with pytest.raises(gb.UsageError, match=r"there are several candidates, Own, sgd\(lr=0.001\): take one of them"):
        both.status  # noqa: B018
    assert both.of("Own").ratio == answer.ratio


def test_times_of_ones_own_are_judged(tmp_path: Path) -> None:
    times = {"adamw": range(200, 320, 20), "mine": range(100, 160, 10), "none": range(210, 330, 20)}
    rows = [{"arm": arm, "replica": r, "time": time} for arm, own in times.items() for r, time in enumerate(own)]
    judged = gb.judge(pd.DataFrame(rows), baseline="adamw", family="selected")
    assert judged.of("mine").status is gb.Status.SUPPORTED
    assert judged.of("none").status is gb.Status.REFUTED
    assert "Yes: mine is earlier than adamw, at 0.50 times the time" in str(judged)
    assert "No, the reverse: none is later than adamw" in str(judged)
    assert "<table" in judged._repr_html_()
    path = tmp_path / "times.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    with path.open() as file:
        again = [gb.judge(source, "adamw", family="selected").verdicts for source in (path, file)]
    assert again == [judged.verdicts, judged.verdicts]
    with pytest.raises(gb.UsageError, match="these times were given, not trained"):
        judged.frame()
    with pytest.raises(gb.UsageError, match="unknown argument 'pairs': choose from budget, every, value"):
        gb.judge(path, pairs=3)


def test_curves_become_times_that_can_be_judged() -> None:
    curves = pd.DataFrame({"run": ["a-0"] * 3 + ["b-0"] * 3, "step": [1, 2, 3] * 2, "acc": [0, 0, 1, 0, 1, 1]})
    assert gb.judge(gb.times(curves, "acc", above=0.5), "a").verdict.median == {"a": 3.0, "b": 2.0}


def test_runs_are_trained_in_order(store: Path) -> None:
    runs = [gb.preset("tiny").run("add", optimizer="sgd", replica=r) for r in (2, 0, 2)]
    records = gb.train(runs, store=store, threads=1)
    assert [record.digest for record in records] == [run.digest for run in runs]
    assert gb.train([], store=store) == []


def test_a_gate_and_a_check_say_whether_they_pass(store: Path) -> None:
    gate = gb.gate("adamw", "adamw", preset="tiny", tasks="add", softmaxes="softmax", store=store)
    assert gate.passed
    assert str(gate).startswith("PASS: the same settings")
    check = gb.check(Raises)
    assert not check.passed
    assert [finding.check for finding in check.broken] == ["runs"]
    assert "<td" in check._repr_html_()


def test_a_race_says_how_long_it_took(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(request: perf.Request) -> perf.Result:
        assert (request.baseline, request.candidate, request.seconds) == ("sgd", "muon", 2.0)
        found = perf.Timing("training step", result(np.ones((24, 2)), np.full((24, 2), 1.5)), "slower")
        spec = gb.OptimizerSpec("sgd")
        return perf.Result(request, (spec, spec), (found,), MACHINE, ({}, {}))

    monkeypatch.setattr(perf, "run", timed)
    race = gb.race("sgd", "muon", seconds=2.0)
    assert race.ratios == pytest.approx({"training step": 1.5})
    assert not race.passed
    assert str(race).startswith("The candidate is slower: training step.")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: gb.compare("sgd", "muon", preset="tyni"), "unknown preset 'tyni'"),
        (lambda: gb.compare("sgd", preset="tiny"), "a comparison needs two optimizers"),
        (lambda: gb.compare("sgd", NUMBER, preset="tiny"), "an optimizer is a text, a class or a function, not 3"),
        (lambda: gb.preset("tiny").run("mul"), "unknown task of preset tiny 'mul': choose from add, gcd"),
        (lambda: gb.optimizer("muon", momentun=0.9), "unknown hyperparameter of muon 'momentun'"),
        (lambda: gb.gate("sgd", "muon", presets="tiny"), "unknown argument 'presets'"),
        (lambda: gb.train([gb.preset("tiny").run("add")], store="no/where.sqlite"), "there is no folder"),
    ],
)
def test_what_cannot_be_used_raises_a_usage_error(ask: Any, message: str) -> None:
    with pytest.raises(gb.UsageError, match=message):
        ask()


def test_a_failing_machine_raises_a_machine_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("planted")

    monkeypatch.setattr(Ensemble, "train", fail)
    with pytest.raises(gb.MachineError, match="MemoryError: planted"):
        gb.train([gb.preset("tiny").run("add")], threads=1)


def test_torch_and_the_streams_are_left_as_they_were(capfd: pytest.CaptureFixture[str]) -> None:
    def state() -> list[Any]:
        return [
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.get_float32_matmul_precision(),
            torch.are_deterministic_algorithms_enabled(),
            torch.random.get_rng_state().tolist(),
        ]

    torch.set_default_dtype(torch.float64)
    try:
        before, path = state(), sys.path[:]
        gb.train([gb.preset("tiny").run("add", optimizer="torch.optim:SGD(lr=0.1)")], threads=1)
        assert state() == before
        assert sys.path == path
    finally:
        torch.set_default_dtype(torch.float32)
    assert capfd.readouterr() == ("", "")  # there is no terminal


def test_a_notebook_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []

    def display(content: str, display_id: bool) -> Any:
        shown.append(content)
        return types.SimpleNamespace(update=shown.append)

    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: types.SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    module = types.ModuleType("IPython.display")
    module.display, module.HTML = display, str  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    with progress.watching(quiet=True) as listener:
        listener(Progress(8, 2, 0, 2, (), ()))
        listener(Progress(8, 3, 0, 3, (), ()))  # too soon
    assert len(shown) == 2
    assert shown[0].startswith('<progress value="2" max="8"')
    assert "2 of 8 runs done" in shown[0]
    assert shown[1] == ""
