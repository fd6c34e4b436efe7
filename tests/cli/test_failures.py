"""Every failure has its exit code and one line, whatever the command."""

from __future__ import annotations

import ast
import contextlib
import errno
import importlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grokbench import cli
from grokbench.cli import streams
from grokbench.records import files
from grokbench.report import progress
from grokbench.spec import MachineError, UsageError
from grokbench.training.local import Progress

HEADER = "cell,arm,replica,time,event\n"
LATER = HEADER + "".join(f"add,{arm},{r},{t + r},1\n" for arm, t in (("a", 100), ("b", 300)) for r in range(8))


def fail(error: BaseException):
    def action(*_: object) -> int:
        raise error

    return action


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("no such thing"), 2, "grokbench: error: no such thing"),
        (KeyboardInterrupt(), 130, "grokbench: interrupted"),
        (MachineError("a record is damaged"), 4, "grokbench: the machine failed: a record is damaged"),
        (sqlite3.OperationalError("database is locked"), 4, "the machine failed: OperationalError: database is locked"),
        (OSError(28, "No space left on device"), 4, "the machine failed: OSError: [Errno 28] No space left on device"),
        (MemoryError(), 4, "grokbench: the machine failed: MemoryError"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
            4,
            "the machine failed: RuntimeError: D",
        ),
        (ImportError("libtorch.so: failed to map segment from shared object"), 4, "the machine failed: ImportError"),
        (
            RuntimeError("MemoryError: \n\nSet TORCHDYNAMO"),
            4,
            "the machine failed: RuntimeError: MemoryError",
        ),
        (RuntimeError("mat1 and mat2 shapes"), 4, "grokbench itself failed: RuntimeError: mat1"),
        (ZeroDivisionError("1/0"), 4, "grokbench itself failed: ZeroDivisionError: 1/0; --debug shows where"),
    ],
)
def test_a_failure_has_its_code_and_one_line(error, code, line, capsys, monkeypatch):
    monkeypatch.setattr("grokbench.cli.list.run", fail(error))
    assert cli.main(["list", "tasks"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert line in err
    assert err.count("\n") == 1
    assert cli.main(["list", "tasks", "--debug"]) == code
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=str)
def test_a_command_that_is_told_to_end_says_so(number, monkeypatch, capsys):
    """As `docker stop` tells it, or a terminal that closes."""
    before = signal.signal(number, signal.SIG_DFL)
    monkeypatch.setattr("grokbench.cli.list.run", lambda options: os.kill(os.getpid(), number) or time.sleep(5))
    try:
        assert cli.main(["list", "tasks"]) == 130
        assert capsys.readouterr().err == "grokbench: interrupted\n"
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_what_a_user_ignores_stays_ignored(monkeypatch):
    """As under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr("grokbench.cli.list.run", lambda options: os.kill(os.getpid(), signal.SIGHUP) or 0)
    try:
        assert cli.main(["list", "tasks"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_no_command_needs_docstrings_and_no_promise_an_assert():
    """As with PYTHONOPTIMIZE=2."""
    code = "from grokbench import cli; cli.main(['--help'])"
    done = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True)
    assert "Exit codes: 0 all asserted claims hold" in done.stdout
    promises = ast.parse((Path(cli.__file__).parents[1] / "testing.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(promises) if isinstance(node, ast.Assert)]


def test_every_command_can_be_debugged():
    for command in cli.parser()._subparsers._group_actions[0].choices.values():  # type: ignore[union-attr]
        assert "--debug" in command.format_help()


class Gone:
    """Standard output whose reader has gone."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise BrokenPipeError

    flush = isatty = lambda self: False

    def fileno(self) -> int:
        return os.open(os.devnull, os.O_WRONLY)


def test_a_reader_that_goes_away_changes_no_exit_code(tmp_path, monkeypatch):
    (tmp_path / "times.csv").write_text(LATER)
    monkeypatch.setattr(sys, "stdout", Gone())
    assert cli.main(["judge", str(tmp_path / "times.csv")]) == 1
    monkeypatch.setattr(sys, "stdout", None)  # as python has it where standard output is closed
    assert cli.main(["judge", str(tmp_path / "times.csv")]) == 1


@pytest.fixture
def closed_terminal():
    """A stream to a terminal whose window has been closed."""
    master, slave = os.openpty()
    os.close(master)
    with os.fdopen(slave, "w", buffering=1) as stream:
        yield stream
        with contextlib.suppress(OSError):
            stream.close()


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_terminal_that_is_closed_changes_no_exit_code(stream, closed_terminal, monkeypatch):
    monkeypatch.setattr(sys, stream, closed_terminal)
    monkeypatch.setattr("grokbench.cli.list.run", lambda options: bool(getattr(sys, stream).write("lost\n")))
    assert cli.main(["list", "tasks"]) == 1


def test_a_failing_disk_under_a_redirected_output_is_not_a_closed_terminal(tmp_path):
    class Failing(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

        def fileno(self) -> int:
            return file.fileno()

    with (tmp_path / "out.txt").open("w") as file, pytest.raises(OSError, match="Input/output error"):
        streams.Output(Failing()).write("lost")


def test_a_reader_of_the_progress_that_goes_away_ends_no_training(monkeypatch):
    """As in `grokbench run 2>&1 | head -1`: rich would end the process with code 1, which is that of a regression."""

    def train(options: object) -> int:
        with progress.watching() as listener:
            listener(Progress(wanted=4, done=1, found=0, trained=1, running=(), waiting=()))
        return 0

    monkeypatch.setattr(sys, "stderr", Gone())
    monkeypatch.setattr("grokbench.cli.list.run", train)
    assert cli.main(["list", "tasks"]) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_output_that_finds_no_room_is_the_machines_failure():
    command = [sys.executable, "-m", "grokbench", "list", "softmaxes"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert "the machine failed: OSError: [Errno 28] No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_closed_output_takes_what_is_written():
    out = streams.Output(None)
    assert out.write("lost") == 4
    assert not out.isatty()
    assert out.encoding == "utf-8"


def test_a_failed_run_leaves_no_json_that_tells_of_another(tmp_path, tiny, monkeypatch, capsys):
    path = tmp_path / "out.json"
    path.write_text('{"verdicts": "of yesterday"}')
    monkeypatch.setattr("grokbench.session.Session.train", fail(MemoryError()))
    monkeypatch.setattr("grokbench.session.Session.answers", fail(sqlite3.OperationalError("gone")))
    command = ["run", "--preset=tiny", f"--json={path}", f"--store={tmp_path / 's.sqlite'}"]
    assert cli.main(command) == 4
    assert "MemoryError; finished runs are in the store" in capsys.readouterr().err  # the first failure
    assert not path.exists()


def test_what_cannot_be_written_is_refused_and_nothing_is_made(tmp_path, capsys):
    for place, why in (("missing/out.json", "there is no folder"), (".", "it is a folder")):
        assert cli.main(["check", "adamw", f"--json={tmp_path / place}"]) == 2
        assert why in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_json_on_standard_output_is_alone_there(tiny, tmp_path, monkeypatch, capfd):
    """A plug-in prints when it is made, and writes to descriptor 1 in every step."""
    (tmp_path / "talks.py").write_text(
        "import os, torch\n"
        "class Talks(torch.optim.SGD):\n"
        "    def __init__(self, params, lr=0.1):\n"
        "        print('hello')\n"
        "        super().__init__(params, lr=lr)\n"
        "    def step(self, closure=None):\n"
        "        os.write(1, b'step\\n')\n"
        "        super().step()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    command = ["run", "--preset=tiny", "--task=add", "--softmax=softmax", "--replicas=1", "--threads=1"]
    with open(1, "w", closefd=False) as stdout:  # as it is outside of tests
        monkeypatch.setattr(sys, "stdout", stdout)
        assert cli.main([*command, "--optimizer=sgd", "--optimizer=talks:Talks", "--json=-"]) == 0
    out, err = capfd.readouterr()
    assert len(json.loads(out)["runs"]) == 2
    assert "hello" in err
    assert "step" in err


@pytest.mark.parametrize(
    "command",
    [
        ["run", "--preset=smok"],
        ["run", "--threads=0"],
        ["gate", "--baseline=muon", "--candidate=muonn"],
        ["perf"],
        ["check"],
        ["sweep", "--grid=lr"],
        ["judge", "nowhere.csv"],
        ["compare", "nowhere.json"],
        ["doctor", "--device=cpu"],
        ["run", "--prest=smoke"],
    ],
)
def test_a_command_that_is_refused_leaves_no_json_that_tells_of_another(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("out.json").write_text('{"verdicts": "of yesterday"}')
    with contextlib.suppress(SystemExit):
        assert cli.main([*command, "--json=out.json"]) == 2
    assert list(tmp_path.iterdir()) == []


def test_json_that_finds_no_room_leaves_no_part(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", fail(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        files.write_line(str(tmp_path / "out.json"), {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_read_is_not_written_over(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, command in (
        ("times.csv", ["judge", "times.csv", "--json=times.csv"]),
        ("base.json", ["gate", "--baseline=base.json", "--candidate=muon", "--json=./base.json"]),
        ("two.json", ["compare", "one.json", "two.json", "--json=two.json"]),
    ):
        Path(name).write_text(LATER)
        assert cli.main(command) == 2
        assert "it is read here; name another file" in capsys.readouterr().err
        assert Path(name).read_text() == LATER


def test_a_baseline_stays_until_there_is_a_new_one(tmp_path, tiny, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("base.json").write_text("the old one")
    golden = importlib.import_module("grokbench.training.golden")  # pytester may have forgotten the one of before
    monkeypatch.setattr(golden, "golden", fail(MemoryError()))
    assert cli.main(["baseline", "save", "base.json", "--optimizer=muon", "--preset=tiny"]) == 4
    assert Path("base.json").read_text() == "the old one"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_json_that_finds_no_room_is_the_machines_failure(tmp_path):
    (tmp_path / "times.csv").write_text(LATER)
    command = [sys.executable, "-m", "grokbench", "judge", str(tmp_path / "times.csv"), "--json=-"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_break_at_words_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "40")
    assert cli.main(["run", "--preset", "huge"]) == 2
    lines = sys.stderr.getvalue().splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 40
    assert " ".join(lines).startswith("grokbench: error: unknown preset 'huge': choose from smoke, ci, paper")
