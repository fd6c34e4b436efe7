"""Records kept in a file: they come back, and those behind the guide's tables are judged again to these tables."""

from __future__ import annotations

import dataclasses
import json

import pytest
from documents import PAGES
from scripts import load
from stored import MACHINE, STATES, TIME, spec, trace

from grokbench.records import jsonl
from grokbench.records.grok import GrokTime, Outcome
from grokbench.records.store import Record
from grokbench.report import layout, terminal
from grokbench.session import Session, cases
from grokbench.spec import UsageError

RESULTS = PAGES["results"]


def test_records_come_back_without_their_curves(tmp_path):
    other = dataclasses.replace(MACHINE, commit="b" * 40, dirty=True)
    made = [
        Record(spec(0).digest, TIME, trace(), STATES[:1], 1.25, 1.7e9, MACHINE),
        Record(spec(1).digest, GrokTime(Outcome.DIVERGED, 9), trace(), (), 0.5, 1.7e9, other),
        Record(spec(2).digest, GrokTime(Outcome.CENSORED, 50, fit=4), trace(), (), 0.5, 1.7e9, MACHINE),
    ]
    jsonl.save(tmp_path / "records.jsonl", made)
    found = jsonl.load(tmp_path / "records.jsonl")
    for record in made:
        again = found[record.digest]
        assert (again.time, again.provenance, again.seconds) == (record.time, record.provenance, record.seconds)
        assert len(again.trace.epoch) == 0
        for ours, theirs in zip(again.diagnostics, record.diagnostics, strict=True):
            assert dataclasses.astuple(ours) == pytest.approx(dataclasses.astuple(theirs), rel=1e-5, nan_ok=True)


def test_a_file_without_names_is_read(tmp_path):
    line = ["0" * 32, 0, "grokked", 30, 5, 12, 14, 3, 1.25, 1700000000, [[12.0, 1.5, 7.25, 30.1, 0.1, 0.001, 0.3]]]
    path = tmp_path / "records.jsonl"
    path.write_text(json.dumps([MACHINE.as_dict()]) + "\n" + json.dumps(line) + "\n")
    (record,) = jsonl.load(path).values()
    assert (record.time, record.provenance, record.diagnostics[0].weight_norm) == (TIME, MACHINE, 30.1)


def test_a_quantity_of_a_later_version_is_left_out(tmp_path):
    path = tmp_path / "records.jsonl"
    jsonl.save(path, [Record(spec().digest, TIME, trace(), STATES[:1], 1.25, 1.7e9, MACHINE)])
    head, line = map(json.loads, path.read_text().splitlines())
    head["diagnostics"].append("sharpness")
    line[head["columns"].index("diagnostics")][0].append(3.5)
    path.write_text(json.dumps(head) + "\n" + json.dumps(line) + "\n")
    (record,) = jsonl.load(path).values()
    assert record.diagnostics[0].weight_norm == pytest.approx(STATES[0].weight_norm)


@pytest.mark.parametrize("content", ["", "[]\n[1, 2]\n", "no JSON", "[{}]\n"])
def test_what_is_no_file_of_records_is_refused(tmp_path, content):
    path = tmp_path / "records.jsonl"
    path.write_text(content)
    with pytest.raises(UsageError, match="is not a file of records"):
        jsonl.load(path)
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        jsonl.load(tmp_path / "none")


def test_the_kept_records_are_judged_again_to_the_tables_of_the_guide(tmp_path):
    script = load("keep_records")
    assert script.PATH.stat().st_size < 2_000_000
    options = dataclasses.replace(script.OPTIONS, store=tmp_path / "empty.sqlite")
    session = Session(options, cases(options))
    session.records |= jsonl.load(script.PATH)
    assert session.missing(session.selected) == []
    verdicts, runs = session.answers()
    session.close()
    assert len(runs) <= len(session.records)  # some were asked for by an earlier rule
    assert f"```\n{terminal.tables(verdicts, layout.WIDTH)}```" in RESULTS
    outcomes = [sum(r.time.outcome is o for _, _, r in runs) for o in Outcome]
    assert f"{len(runs)} runs: {outcomes[0]} grokked, {outcomes[1]} censored, {outcomes[2]} diverged" in RESULTS
