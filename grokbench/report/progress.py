"""The live display of training in a terminal, or a line now and then where there is none."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from grokbench.training.local import Progress

_SHOWN_SLOTS = 8
_LOG_SECONDS = 10.0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


class Display:
    """Shows the training: live on a terminal, else a line every ten seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None
        self._last = 0.0
        self._began = time.monotonic()

    def close(self) -> None:
        if self._live:
            self._live.stop()

    def update(self, progress: Progress) -> None:
        """Draw, at most four times a second; without a terminal, at most every ten seconds."""
        now = time.monotonic()
        if now - self._last < (0.25 if self._live else _LOG_SECONDS):
            return
        self._last = now
        if self._live:
            if not self._live.is_started:
                self._live.start()
            self._live.update(self._picture(progress), refresh=True)
        else:
            self._console.print(self._line(progress), highlight=False)

    def _line(self, progress: Progress) -> str:
        left = "…"
        if progress.trained:
            left = _clock(progress.seconds / progress.trained * (progress.wanted - progress.done))
        elapsed = _clock(time.monotonic() - self._began)
        return f"{progress.done} of {progress.wanted} runs done, {elapsed} passed, about {left} left"

    def _picture(self, progress: Progress) -> Group:
        slots = Table(box=None, padding=(0, 2, 0, 0))
        for name in ("task", "softmax", "optimizer"):
            slots.add_column(name)
        for name in ("replica", "epoch", "training", "validation"):
            slots.add_column(name, justify="right")
        for r in progress.running[:_SHOWN_SLOTS]:
            run = r.run
            slots.add_row(
                run.task.name,
                run.softmax,
                run.optimizer.name,
                str(run.replica),
                str(r.epoch),
                f"{r.train_accuracy:.1%}",
                f"{r.validation_accuracy:.1%}",
            )
        hidden = len(progress.running) - _SHOWN_SLOTS
        more = [Text(f"and {hidden} more slots", "dim")] if hidden > 0 else []
        bar = ProgressBar(total=progress.wanted, completed=progress.done, width=60)
        return Group(Text(self._line(progress)), bar, slots, *more)


@contextlib.contextmanager
def watching() -> Iterator[Callable[[Progress], None]]:
    """A display of the training on standard error, for as long as it is needed."""
    display = Display(Console(stderr=True))
    try:
        yield display.update
    finally:
        display.close()
