"""The live display of training in a terminal, or a line now and then where there is none."""

from __future__ import annotations

import contextlib
import html
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from grokbench.report.layout import Column, Grid, fitted

if TYPE_CHECKING:
    from grokbench.engine.pack import Running
    from grokbench.spec import OptimizerSpec
    from grokbench.training.local import Progress

_SHOWN_SLOTS = 8
_LIVE_SECONDS, _LOG_SECONDS = 0.25, 30.0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


class Display:
    """Shows the training: live on a terminal, else a line every half minute, and one when waiting begins.

    Not everything that takes colours is a terminal: a log of CI with FORCE_COLOR is none.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        terminal = console.file.isatty() and not console.is_dumb_terminal
        self._live = Live(console=console, transient=True, auto_refresh=False) if terminal else None
        self._last: float | None = None
        self._waiting: tuple[str, ...] = ()
        self._began = time.monotonic()

    def close(self) -> None:
        if self._live:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        """Draw, at most four times a second, or print a line, at most every half minute."""
        now = time.monotonic()
        pause = _LIVE_SECONDS if self._live else _LOG_SECONDS
        told = self._last is not None and now < self._last + pause
        if told and (progress.waiting == self._waiting or not progress.waiting):
            return
        self._last, self._waiting = now, progress.waiting
        if self._live:
            if not self._live.is_started:
                self._live.start()
            self._live.update(self._picture(progress), refresh=True)
        else:
            self._console.print(self._line(progress), highlight=False, markup=False, soft_wrap=True)

    def _line(self, progress: Progress) -> str:
        return told(progress, time.monotonic() - self._began)

    def _picture(self, progress: Progress) -> Group:
        width = self._console.width
        paired = sorted(progress.running, key=lambda one: (one.run.task.name, one.run.softmax, one.run.replica))
        labels = _labels([one.run.optimizer for one in paired])
        rows = [_row(one, labels[one.run.optimizer]) for one in paired[:_SHOWN_SLOTS]]
        hidden = len(progress.running) - _SHOWN_SLOTS
        more = [Text(f"and {hidden} more runs", "dim")] if hidden > 0 else []
        bar = ProgressBar(total=max(progress.wanted, 1), completed=progress.done, width=min(60, width))
        table = [fitted(Grid(_COLUMNS, rows), width - 1)[0]] if rows else []
        return Group(Text(self._line(progress)), Padding(bar, 0), *table, *more)


_SHOWN_SETTINGS = ("lr=", "weight_decay=")  # in columns of their own
_COLUMNS = (
    Column("task", right=False),
    Column("softmax", right=False, drop=2),
    Column("optimizer", right=False),
    Column("rate", drop=4),
    Column("decay", drop=4),
    Column("replica", drop=3),
    Column("epoch"),
    Column("training\naccuracy", drop=1),
    Column("validation\naccuracy"),
)


def _labels(optimizers: Sequence[OptimizerSpec]) -> dict[OptimizerSpec, str]:
    """A name for each that tells it from the others, as far as names and settings can, besides rate and decay."""
    names: dict[str, set[str]] = {}
    for one in optimizers:
        names.setdefault(_short(one.name), set()).add(one.name)
    found = {}
    for one in optimizers:
        alike = [set(other.settings) for other in optimizers if other.name == one.name]
        own = [s for s in one.settings if s not in set.intersection(*alike) and not s.startswith(_SHOWN_SETTINGS)]
        name = _short(one.name) if len(names[_short(one.name)]) == 1 else one.name
        found[one] = name + f"({', '.join(own)})" * bool(own)
    return found


def _short(name: str) -> str:
    return name.rpartition(":")[2]


def _row(running: Running, label: str) -> tuple[str, ...]:
    """One run, with the rate and the decay, in which runs of a sweep differ."""
    run = running.run
    given = dict(run.optimizer.hyperparameters)
    settings = (str(given.get(key, "")) for key in ("lr", "weight_decay"))
    shares = (f"{share:.1%}" for share in (running.train_accuracy, running.validation_accuracy))
    return run.task.name, run.softmax, label, *settings, str(run.replica), str(running.epoch), *shares


def told(progress: Progress, elapsed: float) -> str:
    """What is done and running, how long it took, and how much longer it will at most."""
    parts = [f"{progress.done} of {progress.wanted} runs done in {_clock(elapsed)}"]
    # All processes share the work, so what counts is what is done by all of them in the time that has passed.
    ended, rest = progress.done - progress.found, progress.wanted - progress.done
    if ended and rest:
        parts.append(f"the others need about {_clock(elapsed / ended * rest)} more")
    if progress.running:
        epochs = [r.epoch for r in progress.running]
        most = max(r.run.criterion.budget for r in progress.running)
        parts.append(f"{len(epochs)} now at epoch {_range(f'{min(epochs)}', f'{max(epochs)}')} of at most {most}")
        accuracies = [r.validation_accuracy for r in progress.running if math.isfinite(r.validation_accuracy)]
        if accuracies:
            parts.append(f"validation accuracy {_range(f'{min(accuracies):.0%}', f'{max(accuracies):.0%}')}")
    if progress.waiting:
        parts.append(f"waiting for {', '.join(progress.waiting)}")
    return ", ".join(parts)


def _range(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


class Notebook:
    """Shows the training as a bar in a notebook's output; see https://ipython.readthedocs.io, `IPython.display`."""

    def __init__(self) -> None:
        from IPython.display import display

        self._display = display
        self._handle: Any = None
        self._last, self._began = 0.0, time.monotonic()

    def update(self, progress: Progress) -> None:
        """Draw, at most four times a second."""
        now = time.monotonic()
        if self._handle and now < self._last + _LIVE_SECONDS:
            return
        self._last = now
        self._draw(
            f'<progress value="{progress.done}" max="{max(progress.wanted, 1)}" style="width: 30em"></progress> '
            f"{html.escape(told(progress, now - self._began))}"
        )

    def close(self) -> None:
        """Take the bar away."""
        if self._handle:
            self._draw("")

    def _draw(self, content: str) -> None:
        from IPython.display import HTML

        if self._handle:
            self._handle.update(HTML(content))
        else:
            self._handle = self._display(HTML(content), display_id=True)


def _in_notebook() -> bool:
    """Whether this is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def watching(*, quiet: bool = False) -> Iterator[Callable[[Progress], None]]:
    """A display of the training, for as long as it is needed: on standard error, or in a notebook's output.

    quiet: nothing where there is neither a terminal nor a notebook, rather than a line now and then.
    """
    display: Notebook | Display
    if _in_notebook():
        display = Notebook()
    else:
        console = Console(stderr=True)
        if quiet and not console.file.isatty():
            yield lambda progress: None
            return
        display = Display(console)
    try:
        yield display.update
    finally:
        display.close()
