"""Processes beside this one end with it, and leave signals of the terminal to it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from grokbench.training import beside

ECHO = """
import contextlib, os, signal, sys, time
from grokbench.training import beside
with contextlib.suppress(KeyboardInterrupt):
    for order in beside.orders():
        if order == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            beside.send(sys.stdout.buffer, order)
            if order in ("long", "deaf"):
                time.sleep(600)
        finally:
            with open(os.environ["ENDED"], "w") as file:
                file.write(f"left {order}")
"""


@pytest.fixture
def echo(tmp_path, monkeypatch):
    """A process that answers each order with itself, and writes a file when it leaves one."""
    monkeypatch.setenv("ENDED", str(tmp_path / "ended"))
    process = subprocess.Popen([sys.executable, "-c", ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    yield process
    process.kill()
    beside.end(process)


def asked(process, order):
    beside.send(process.stdin, order)
    return beside.receive(process.stdout)


def test_orders_come_as_they_were_sent(echo):
    large = [b"x" * 300_000]  # more than a pipe holds
    for order in ("one", large, None):
        assert asked(echo, order) == order


def test_one_that_is_busy_ends_too_and_can_give_back_what_it_holds(echo, tmp_path):
    assert asked(echo, "long") == "long"
    beside.end(echo)
    assert echo.returncode == 0
    assert (tmp_path / "ended").read_text() == "left long"


def test_one_that_does_not_listen_ends_all_the_same(echo, tmp_path, monkeypatch):
    monkeypatch.setattr(beside, "END_SECONDS", 0.1)
    assert asked(echo, "deaf") == "deaf"
    beside.end(echo)
    assert echo.returncode == -signal.SIGKILL
    assert not (tmp_path / "ended").exists()


def test_signals_of_the_terminal_are_for_the_one_that_started_it(echo):
    assert asked(echo, "one") == "one"
    echo.send_signal(signal.SIGINT)
    echo.send_signal(signal.SIGHUP)
    assert asked(echo, "two") == "two"


def test_one_that_has_ended_already_is_no_error(echo):
    echo.kill()
    echo.wait()
    with pytest.raises(BrokenPipeError):
        beside.send(echo.stdin, "one")
    beside.end(echo)


@pytest.mark.parametrize(("code", "how"), [(1, "with exit code 1"), (-9, "by SIGKILL"), (-40, "by signal 40")])
def test_how_one_ended_is_said(code, how):
    assert beside.how(code) == how
