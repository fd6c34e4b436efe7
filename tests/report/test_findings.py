"""What was checked is called what it is: an optimizer, a task, a softmax or a model."""

from __future__ import annotations

import pytest

from grokbench.conformance.outcome import CheckOutcome, Finding
from grokbench.report import conformance

FINE = [Finding("runs", CheckOutcome.HOLDS, "it does")]
WRONG = [Finding("runs", CheckOutcome.BREAKS, "it does not")]


@pytest.mark.parametrize(
    ("found", "first", "heads"),
    [
        ({"optimizer": {"sgd": FINE}}, "sgd conforms.", ["check"]),
        ({"optimizer": {}, "task": {"cubic": WRONG}}, "task cubic does not conform: it breaks runs.", ["check"]),
        ({"task": {"cubic": FINE, "add": WRONG}}, "1 of 2 conform.", ["task", "cubic", "add"]),
        ({"optimizer": {"sgd": FINE}, "model": {"mlp": FINE}}, "2 of 2 conform.", ["what", "optimizer", "model"]),
    ],
)
def test_a_table_names_what_was_checked(found, first, heads):
    said, *lines = [line for line in conformance.text(found, 100).splitlines() if line.strip(" ─")]
    assert said == first
    assert [line.split()[0] for line in lines][: len(heads)] == heads


def test_json_keeps_the_kinds_apart():
    written = conformance.document({"optimizer": {"sgd": FINE}, "task": {"cubic": WRONG}})
    assert [(o["optimizer"], o["conforms"]) for o in written["optimizers"]] == [("sgd", True)]
    assert [(t["task"], t["conforms"]) for t in written["tasks"]] == [("cubic", False)]
    assert (written["softmaxes"], written["models"]) == ([], [])


def test_a_step_summary_names_what_was_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    (note,) = conformance.publish({"task": {"cubic": WRONG}})
    assert note.title == "cubic"
    assert "| task | check |" in (tmp_path / "summary.md").read_text()
