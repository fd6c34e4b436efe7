"""What is shown while runs are trained: true times, epochs, and no cursor codes where there is no terminal."""

from __future__ import annotations

import io
import os
import socket
import time
from dataclasses import replace

import pytest
from rich.console import Console
from tiny import a_run

from grokbench.engine.pack import Running
from grokbench.records.store import Store
from grokbench.report.progress import Display, _labels
from grokbench.spec.registry import parse
from grokbench.training import local
from grokbench.training.local import Executor, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def state(wanted=16, done=0, found=0, epochs=(), waiting=()) -> Progress:
    running = tuple(Running(a_run(i), epoch, 0.5, 0.5) for i, epoch in enumerate(epochs))
    return Progress(wanted, done, found, 0, running, waiting)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            state(epochs=(5, 40, 20)),
            "0 of 16 runs done in 1:00, 3 now at epoch 5 to 40 of at most 60, validation accuracy 50%",
        ),
        (state(epochs=(5,)), "0 of 16 runs done in 1:00, 1 now at epoch 5 of at most 60, validation accuracy 50%"),
        (state(done=8), "8 of 16 runs done in 1:00, the others need about 1:00 more"),  # by however many processes
        (state(wanted=20, done=12, found=8), "12 of 20 runs done in 1:00, the others need about 2:00 more"),
        (
            state(done=4, found=4, waiting=("process 7 of there",)),
            "4 of 16 runs done in 1:00, waiting for process 7 of there",
        ),
    ],
)
def test_the_line_tells_what_is_known(given, line, clock):
    out = io.StringIO()
    display = Display(Console(file=out))
    clock[0] += 60
    display.update(given)
    assert out.getvalue() == f"{line}\n"


def lines(console: Console, clock: list[float], *given: tuple[float, Progress]) -> list[str]:
    """What a display prints if it is told so, each after some seconds."""
    display = Display(console)
    for seconds, progress in given:
        clock[0] += seconds
        display.update(progress)
    display.close()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_without_a_terminal_there_is_a_line_every_half_minute(clock):
    told = lines(Console(file=io.StringIO()), clock, *[(1.0, state(epochs=(i,))) for i in range(1, 70)])
    assert [line.split(", ")[1] for line in told] == [f"1 now at epoch {i} of at most 60" for i in (1, 31, 61)]


def test_that_it_waits_is_said_at_once_and_once(clock):
    there, elsewhere = (state(waiting=(f"process {i} of there",)) for i in (7, 8))
    given = [(1.0, state()), (1.0, there), (1.0, there), (1.0, state()), (1.0, elsewhere)]
    told = lines(Console(file=io.StringIO()), clock, *given)
    assert [line.partition("waiting for ")[2] for line in told] == ["", "process 7 of there", "process 8 of there"]


@pytest.mark.parametrize(
    ("file", "environment", "live"),
    [
        (io.StringIO, {"FORCE_COLOR": "1"}, False),  # as the log of a job
        (Terminal, {"TERM": "dumb"}, False),
        (Terminal, {"TERM": "xterm"}, True),
    ],
)
def test_cursor_codes_are_for_terminals(file, environment, live, clock, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    console = Console(file=file(), width=60)
    told = "\n".join(lines(console, clock, (1.0, state(epochs=(5, 40), waiting=("[process] 7",)))))
    assert ("\x1b[" in told) == live
    assert (
        live
        or told
        == "0 of 16 runs done in 0:01, 2 now at epoch 5 to 40 of at most 60, validation accuracy 50%, "
        "waiting for [process] 7"
    )


def test_who_trains_what_is_missing_is_told_after_a_while(tmp_path, monkeypatch):
    monkeypatch.setattr(local, "SAID_SECONDS", 0.05)
    monkeypatch.setattr(local, "WAIT_SECONDS", 0.01)
    run, found = a_run(0), a_run(1, budget=2)
    told: list[Progress] = []

    def listener(progress: Progress) -> None:
        told.append(progress)
        if progress.waiting:
            raise KeyboardInterrupt

    with Store(tmp_path / "s.sqlite") as other, Store(other.path) as store:
        Executor(other, "cpu").records([found])
        other.claim(run.digest)
        with pytest.raises(KeyboardInterrupt):
            Executor(store, "cpu", listener=listener).records([run, found])
    assert told[0].waiting == ()
    assert (told[-1].wanted, told[-1].done, told[-1].found, told[-1].trained) == (2, 1, 1, 0)
    assert told[-1].waiting == (f"process {os.getpid()} of {socket.gethostname()}",)


@pytest.mark.parametrize(
    ("width", "heads"),
    [
        (50, "task optimizer epoch accuracy accuracy"),
        (80, "task softmax optimizer rate decay replica epoch accuracy accuracy"),
    ],
)
def test_the_headings_of_the_live_display_are_whole(width, heads, clock):
    out = io.StringIO()
    console = Console(file=out, width=width, height=30)
    console.print(Display(console)._picture(state(epochs=(5, 40))))
    lines = out.getvalue().splitlines()
    assert heads.split() in [line.split() for line in lines]
    assert max(map(len, lines)) <= width


def test_the_live_display_tells_arms_apart() -> None:
    muon, other = (parse(f"muon(lr=0.02, ns_steps={n}, adamw_lr=0.01)") for n in (5, 1))
    assert set(_labels([muon, other, other]).values()) == {"muon(ns_steps=5)", "muon(ns_steps=1)"}
    twins = [replace(parse("torch.optim:SGD(lr=0.1)"), name=name) for name in ("one:Mine", "two:Mine")]
    assert set(_labels(twins).values()) == {"one:Mine", "two:Mine"}
    assert _labels([parse("torch.optim:SGD(lr=0.1)")]).popitem()[1] == "SGD"
