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
        parts = [f"{progress.done} of {progress.wanted} runs done"]
        if progress.running:
            epochs = [r.epoch for r in progress.running]
            most = max(r.run.criterion.budget for r in progress.running)
            between = f"epoch {min(epochs)}" + f" to {max(epochs)}" * (max(epochs) > min(epochs))
            parts.append(f"{len(epochs)} at {between} of at most {most}")
        elapsed = time.monotonic() - self._began
        parts.append(f"{_clock(elapsed)} passed")
        # All processes share the work, so what counts is what is done by all of them in the time that has passed.
        if ended := progress.done - progress.found:
            parts.append(f"about {_clock(elapsed / ended * (progress.wanted - progress.done))} left")
        if progress.waiting:
            parts.append(f"waiting for {', '.join(progress.waiting)}")
        return ", ".join(parts)

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
