"""Compiled code has a folder wherever something can be written, and where nothing can, steps are eager."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from grokbench.engine import sizing
from grokbench.numerics import cache


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A home and a temporary folder, and a file below which nothing can be made, not even as root."""
    found = {name: tmp_path / name for name in ("home", "temporary")}
    for folder in found.values():
        folder.mkdir()
    (tmp_path / "file").touch()
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(found["home"]))
    monkeypatch.setattr(tempfile, "tempdir", str(found["temporary"]))
    monkeypatch.setattr(cache, "folder", cache.folder.__wrapped__)
    return {**found, "nowhere": tmp_path / "file" / "below"}


def test_the_home_has_it_unless_the_user_says_otherwise(places, monkeypatch) -> None:
    assert cache.folder() == places["home"] / ".cache" / "grokbench"
    monkeypatch.setenv("XDG_CACHE_HOME", str(places["home"] / "x"))
    assert cache.folder() == places["home"] / "x" / "grokbench"
    monkeypatch.setenv(cache.VARIABLE, str(places["home"] / "y"))
    assert cache.folder() == places["home"] / "y"


@pytest.mark.parametrize("variable", ["HOME", "XDG_CACHE_HOME", cache.VARIABLE])
def test_an_unwritable_place_is_passed_over(places, monkeypatch, variable) -> None:
    monkeypatch.setenv(variable, str(places["nowhere"]))
    monkeypatch.setenv("HOME", str(places["nowhere"]))
    assert cache.folder() == places["temporary"] / f"grokbench-{os.getuid()}"
    assert not places["nowhere"].exists()


def test_a_user_whom_nobody_knows_has_a_place(places, monkeypatch) -> None:
    def unknown(_: str) -> str:
        return "~"  # what Python makes of it without HOME and without an entry in the passwd file

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os.path, "expanduser", unknown)
    assert cache.folder() == places["temporary"] / f"grokbench-{os.getuid()}"


def test_code_that_somebody_else_could_have_written_is_not_run(places, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(places["nowhere"]))
    shared = places["temporary"] / f"grokbench-{os.getuid()}"
    shared.mkdir()
    shared.chmod(0o777)
    found = cache.folder()
    assert found
    assert found != shared
    assert found.stat().st_mode & 0o077 == 0


def test_steps_are_eager_where_nothing_can_be_written(places, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(places["nowhere"]))
    monkeypatch.setattr(tempfile, "tempdir", str(places["nowhere"]))
    monkeypatch.setattr(sizing, "compiler", sizing.compiler.__wrapped__)
    assert cache.folder() is None
    assert sizing.compiler("cpu") is None
