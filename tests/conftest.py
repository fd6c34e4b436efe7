"""Fixtures that several test files share."""

from __future__ import annotations

import os

# The models here are tiny. More threads gain nothing, and waiting threads cost much where tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import tiny as tiny_preset

from grokbench import presets


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> presets.Preset:
    """The preset `tiny`, known by name in this process."""
    monkeypatch.setitem(presets.PRESETS, "tiny", tiny_preset.PRESET)
    return tiny_preset.PRESET
