"""Foreign code that ends the process does not end it: exit code 0 without an answer would look like one."""

from __future__ import annotations

import contextlib
import os
import threading

import pytest

from grokbench import cli
from grokbench.spec.foreign import no_exit


@pytest.fixture(autouse=True)
def _alive(monkeypatch):
    """What would end these tests fails them."""
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail(f"the process ended with {code}"))


def test_a_module_that_ends_the_process_cannot_be_imported(tmp_path, monkeypatch, capsys):
    (tmp_path / "ends_at_import.py").write_text("import os\nos._exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("ends_at_import:Mine", "ends_at_import:*"):
        assert cli.main(["check", name]) == 2
        assert "SystemExit: it called os._exit(0)" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["mine.py:Mine", "mine.py:*", "lib/mine.py:Mine", "lib/mine:Mine"])
def test_who_names_a_file_is_told_to_name_a_module(name, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["check", name]) == 2
    assert "; name a module, not a file: 'mine:Mine' is the class Mine in mine.py" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("optimizer", "when"),
    [
        ("plugins:Ends(steps=0)", "could not be made"),
        ("plugins:Ends", "failed at step 1"),
        ("plugins:Ends(steps=5)", "failed at step 5"),
    ],
)
def test_an_optimizer_that_ends_the_process_is_named(optimizer, when, tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    select = ["--task=add", "--softmax=softmax", "--replicas=1"]
    assert cli.main(["run", "--preset=tiny", *select, "--optimizer=sgd", f"--optimizer={optimizer}"]) == 2
    message = f"the optimizer plugins:Ends {when}: SystemExit: it called os._exit(0) (plugins.py, line "
    assert message in capsys.readouterr().err


def test_a_module_that_finds_no_memory_is_not_to_blame(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "large.py").write_text("raise ImportError('liblarge.so: failed to map segment from shared object')")
    assert cli.main(["check", "large:Large"]) == 4


def test_a_check_and_a_gate_are_not_ended_either(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["check", "plugins:Ends"]) != 0
    assert "it called os._exit(0)" in "".join(capsys.readouterr())
    assert cli.main(["gate", "--preset=tiny", "--baseline=sgd", "--candidate=plugins:Ends"]) == 2
    assert "it called os._exit(0)" in capsys.readouterr().err


def test_another_thread_and_a_forked_child_may_end(monkeypatch):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    with no_exit():
        thread = threading.Thread(target=os._exit, args=(1,))
        thread.start()
        thread.join()
        monkeypatch.setattr(os, "getpid", lambda: 0)
        with contextlib.suppress(SystemExit):
            os._exit(2)
    os._exit(3)
    assert ended == [1, 2, 3]
