"""A sweep divides its runs into processes of one thread each, as `run` does."""

from __future__ import annotations

import types
from typing import Any

import pytest

from grokbench import cli
from grokbench.spec import UsageError
from grokbench.training import local, workers


class StartedError(UsageError):
    """Instead of a process."""


@pytest.mark.parametrize(("threads", "divided"), [("2", True), ("1", False)])
def test_it_starts_workers_of_one_thread(
    threads: str, divided: bool, tiny: Any, monkeypatch: Any, tmp_path: Any
) -> None:
    """With two threads there is one worker beside this process; with one there is none."""
    seen: list[dict[str, str]] = []

    def started(command: list[str], **settings: Any) -> None:
        seen.append(settings["env"])
        raise StartedError

    def trained(*_: Any) -> None:
        raise StartedError

    monkeypatch.setattr(workers, "subprocess", types.SimpleNamespace(Popen=started, PIPE=-1, DEVNULL=-3))
    monkeypatch.setattr(local.Executor, "need", trained)
    grid = ["--grid", "lr=0.01,0.02", "weight_decay=0,1", "--replicas", "2"]
    arguments = ["sweep", "--preset", "tiny", *grid, "--store", str(tmp_path / "s"), "--threads", threads]
    assert cli.main(arguments) == 2
    assert [environment["OMP_NUM_THREADS"] for environment in seen] == ["1"] * divided
