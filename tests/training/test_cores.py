"""How many cores there are is decided in one place, and no command takes more threads."""

from __future__ import annotations

import os

import pytest

from grokbench import cli
from grokbench.options import Options
from grokbench.session import Session
from grokbench.spec import UsageError
from grokbench.training import cores

SAVE = ["baseline", "save", "b.json", "--optimizer=sgd"]


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A tree of control groups in which this process is in a/b."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "self").write_text("1:name=systemd:/\n0::/a/b\n")
    monkeypatch.setattr(cores, "CGROUPS", tmp_path)
    monkeypatch.setattr(cores, "MEMBERSHIP", tmp_path / "self")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("outer", "inner", "count"),
    [
        ("max 100000", "max 100000", 8),
        ("max 100000", "250000 100000", 3),
        ("200000 100000", "400000 100000", 2),
        ("max 100000", "10000 100000", 1),
        ("max 100000", "6400000 100000", 8),
        ("", "nonsense", 8),
    ],
)
def test_a_container_s_share_counts(groups, outer, inner, count):
    (groups / "a/cpu.max").write_text(outer)
    (groups / "a/b/cpu.max").write_text(inner)
    assert cores.count() == count


@pytest.mark.parametrize(("quota", "count"), [("-1", 8), ("250000", 3), ("", 8)])
@pytest.mark.parametrize("path", ["/a/b", "/docker/of-the-host"])
def test_control_groups_of_version_1_count_too(groups, path, quota, count):
    tree = groups / "cpu,cpuacct"
    own = tree / "a" if path == "/a/b" else tree
    own.mkdir(parents=True)
    (own / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (own / "cpu.cfs_period_us").write_text("100000\n")
    (groups / "self").write_text(f"9:memory:{path}\n4:cpu,cpuacct:{path}\n0::/\n")
    assert cores.count() == count


@pytest.mark.parametrize("text", ["", "4:memory:/a\n"])
def test_without_control_groups_only_the_binding_counts(groups, text):
    (groups / "self").write_text(text)
    assert cores.count() == 8
    (groups / "self").unlink()
    assert cores.count() == 8


@pytest.mark.parametrize("threads", [-1, 0, 99999999])
@pytest.mark.parametrize(
    "command",
    [["run"], ["perf", "--self-test"], ["sweep"], ["gate", "--baseline=b.json", "--candidate=sgd"], SAVE],
    ids=lambda c: c[0],
)
def test_no_command_takes_threads_that_are_not_there(command, threads, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command, "--threads", str(threads)]) == 2
    assert f"threads must be at least 1 and at most {cores.count()}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_session_takes_none_either(tmp_path):
    with pytest.raises(UsageError, match="threads must be at least 1"):
        Session(Options(store=tmp_path / "s.sqlite", threads=10**6), [])
    assert not list(tmp_path.iterdir())


def test_the_trainer_uses_no_more_than_there_are(groups, tmp_path, monkeypatch):
    import torch

    from grokbench.records.store import Store
    from grokbench.training.trainer import Trainer

    (groups / "a/cpu.max").write_text("200000 100000")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 6)
    with Store(tmp_path / "s.sqlite") as store:
        assert Trainer(store, "cpu")._processes(100) == 2
