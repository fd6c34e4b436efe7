"""The study of the corpus: a line for each pair, once."""

from __future__ import annotations

import pytest
from scripts import load

faults = load("faults")


def test_a_line_is_added_once(tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "RECORDS", tmp_path)
    faults.go("check", ["decay_constant"])
    first = (tmp_path / "corpus_check.txt").read_text()
    assert first.splitlines()[2].startswith("decay_constant | weight decay | breaks | it takes 0.005 from each")
    monkeypatch.setattr(faults, "examine", pytest.fail)
    faults.go("check", ["decay_constant"])
    assert (tmp_path / "corpus_check.txt").read_text() == first


def test_all_that_is_sound_is_looked_at():
    names = faults.sound_ones()
    assert {"corpus.decay_constant:Sound", "adamw", "torch.optim:Adam"} <= set(names)
    assert "corpus.newton_schulz_reshapes:Sound(parameters='matrices')" in names
