"""Records that other versions wrote are read as far as they are known; one that is damaged is named."""

from __future__ import annotations

import dataclasses
import json
import sqlite3
from pathlib import Path

import pytest
from stored import MACHINE, STATES, TIME, spec, trace

from grokbench.records.store import Store
from grokbench.spec import MachineError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


def test_fields_of_a_later_version_are_left_out_and_missing_ones_are_not_known(path: Path) -> None:
    with Store(path) as store:
        store.put(spec(), TIME, trace(), STATES, 1.25, MACHINE)
    db = sqlite3.connect(path)
    state = {**vars(STATES[0]), "sharpness": 3.5}
    del state["update_rest"]
    db.execute("UPDATE runs SET diagnostics = ?", (json.dumps([state]),))
    origin = {**MACHINE.as_dict(), "numerics": "tf32"}
    del origin["commit"], origin["compiler"]
    db.execute("UPDATE provenance SET content = ?", (json.dumps(origin),))
    db.commit()
    db.close()
    with Store(path) as store:
        record = store.get([spec().digest])[spec().digest]
    assert repr(record.diagnostics[0]) == repr(dataclasses.replace(STATES[0], update_rest=float("nan")))
    assert record.provenance == MACHINE


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE runs SET curves = substr(curves, 1, 40)", "curves cannot be unpacked"),
        ("UPDATE runs SET curves = 7", "curves cannot be unpacked"),
        ("UPDATE runs SET curves = x'789c4b040000620062'", "curves of 1 bytes are cut off"),
        ("UPDATE runs SET outcome = 'won'", "'won' is not a valid Outcome"),
        ("UPDATE runs SET epochs = 'many'", r"GrokTime\.epochs cannot be 'many'"),
        ("UPDATE runs SET diagnostics = '[[1, 2'", "delimiter"),
        ("UPDATE runs SET diagnostics = '[[1, 2]]'", "shorter"),
        ("UPDATE runs SET diagnostics = '[7]'", "Diagnostics has fields by name, not 7"),
        ("UPDATE runs SET diagnostics = '{}'", "diagnostics are a list"),
        ("UPDATE runs SET seconds = 'x'", "could not convert"),
        ("UPDATE provenance SET content = 'null'", "Provenance has fields by name, not None"),
        ("UPDATE provenance SET content = '{}'", "Provenance.grokbench is missing"),
        ("DELETE FROM provenance", "its provenance 1 is missing"),
    ],
)
def test_a_damaged_record_is_named_with_its_store(path: Path, damage: str, message: str) -> None:
    with Store(path) as store:
        store.put(spec(), TIME, trace(), STATES, 1.25, MACHINE)
    db = sqlite3.connect(path)
    db.execute(damage)
    db.commit()
    db.close()
    with Store(path) as store, pytest.raises(MachineError, match=message) as found:
        store.get([spec().digest])
    assert str(found.value).startswith(f"the record {spec().digest} in the store {path} is damaged: ")
