"""Fixtures of the tests of benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the benchmarks, whose modules can now be imported."""
    folder = ROOT / "benchmarks"
    monkeypatch.syspath_prepend(folder)
    return folder
