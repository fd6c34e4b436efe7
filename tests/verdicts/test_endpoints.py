"""An endpoint is one object: it is found by its name, and nothing else knows of it."""

from __future__ import annotations

import dataclasses

import pytest
from judged import ADD, LATER, claim, judge, records_of

from grokbench.report import export, terminal
from grokbench.verdicts import endpoints
from grokbench.verdicts.verdict import Status


def test_a_new_endpoint_is_one_new_object(monkeypatch):
    """Epochs that were trained, as if more of them were better."""
    longer = endpoints.Count("epochs", "it trains for longer", lambda record: float(record.time.epochs))
    monkeypatch.setitem(endpoints.ENDPOINTS, "epochs", longer)
    asked = dataclasses.replace(claim(), test="epochs")
    records = records_of(asked, {ADD: LATER})
    (v,) = judge(asked, [ADD], records)
    assert v.status is Status.SUPPORTED
    assert v.median == {"adamw": 135.0, "muon": 260.0}
    assert v.ratio is None
    assert v.reason == "muon more often than adamw: adamw 135, muon 260, adjusted p 0.016"
    assert "muon more often" not in terminal.tables([v], 112)
    assert export.document([v], ())["verdicts"][0]["test"] == "epochs"


@pytest.mark.parametrize("name", endpoints.ENDPOINTS)
def test_every_endpoint_says_what_it_means(name):
    endpoint = endpoints.ENDPOINTS[name]
    assert endpoint.name == name
    assert endpoint.meaning
