"""Runs of one shape in training: a queue, an ensemble's slots, and what is evaluated when.

Training accuracy decides when a run has settled, and validation accuracy only what comes after. All that matters of
either is on which side of its threshold it lies, and mostly a few rows tell that it is below. So grok times are those
of full evaluations after every epoch, while an accuracy itself is known where it may be at its threshold, and for the
curves after every `FULL_EVERY`th epoch.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grokbench.engine.ensemble import Ensemble
from grokbench.engine.kinds import ensemble
from grokbench.engine.measured import Measured, advanced
from grokbench.engine.sizing import PackSize
from grokbench.records.grok import Diagnostics, GrokDetector, Trace
from grokbench.spec import Part, RunSpec

FULL_EVERY = 16  # epochs
PROBE_ROWS = 128


class Running(NamedTuple):
    """A slot in use: its run, the epochs it has trained and the latest accuracies that were evaluated."""

    run: RunSpec
    epoch: int
    train_accuracy: float
    validation_accuracy: float


class Slot:
    """A run in training: its detector and its curves so far, NaN where nothing was evaluated."""

    def __init__(self, digest: str, run: RunSpec) -> None:
        self.digest, self.run = digest, run
        self.detector = GrokDetector(run.criterion)
        self.curves: list[tuple[float, ...]] = []
        self.diagnostics: list[Diagnostics] = []
        self.seconds = 0.0
        self.diverged = False
        self.latest = (0.0, 0.0)

    @property
    def epoch(self) -> int:
        return len(self.curves)

    @property
    def due(self) -> bool:
        """Whether everything is evaluated after the epoch that comes."""
        return (self.epoch + 1) % FULL_EVERY == 0 or self.epoch + 1 == self.run.criterion.budget

    def may_reach(self, part: Part, accuracy: float) -> bool:
        """Whether the accuracy on a part can be at its threshold, given that on its first `PROBE_ROWS` rows.

        One row is forgiven, since products of another size may round a tie to the other side.
        """
        rows, rule = self.run.task.part_rows(part), self.run.criterion
        wrong = max(0, PROBE_ROWS - round(accuracy * PROBE_ROWS) - 1)
        return (rows - wrong) / rows >= (rule.train_threshold if part == "train" else rule.threshold)

    def update(self, *figures: float, finite: bool) -> bool:
        """Take in what was evaluated after an epoch, in the order of `Trace`; True if the run has ended."""
        self.curves.append(figures)
        train, validation = (old if np.isnan(new) else new for old, new in zip(self.latest, figures, strict=False))
        self.latest, self.diverged = (train, validation), not finite
        return self.detector.update(self.epoch, *figures[:2]) or self.diverged

    def diagnosed(self) -> tuple[Diagnostics, ...]:
        """The diagnostics taken at the first crossing, if that stood, and at the end."""
        kept = (self.detector.first, self.epoch)
        return tuple(d for d in self.diagnostics if d.epoch in kept)

    def trace(self) -> Trace:
        train, validation, *losses = np.array(self.curves, dtype=np.float64).reshape(-1, 4).T.copy()
        epoch = np.arange(1, self.epoch + 1, dtype=np.int32)
        return Trace(epoch, train, validation, *(loss.astype(np.float32) for loss in losses))


class Pack:
    """A queue of runs, and an ensemble while any of them is in training.

    On CUDA it computes on a stream of its own, so that several packs can compute at once. queue: shared with them.
    """

    def __init__(self, size: PackSize, queue: dict[str, RunSpec] | None = None) -> None:
        self.size = size
        self.queue: dict[str, RunSpec] = {} if queue is None else queue
        self.slots: list[Slot | None] = []
        self._ensemble: Ensemble | None = None
        self.compiler: str | None = None  # see `Ensemble`
        self._stream: torch.cuda.Stream | None = None
        self._launched: Tensor | None = None
        self._spent = 0.0  # seconds that its launch took

    def _aside(self) -> AbstractContextManager[object]:
        """While it is entered, what is given to a GPU is given to the pack's own stream."""
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)

    @property
    def active(self) -> list[Slot]:
        return [slot for slot in self.slots if slot]

    @property
    def room(self) -> int:
        """How many more runs it can take."""
        return self.slots.count(None) if self._ensemble else self.size.slots

    def take(self, runs: Sequence[RunSpec], device: torch.device) -> None:
        """Begin these runs, at most `room`, in free slots."""
        if device.type == "cuda" and self._stream is None:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream())
        with self._aside():
            self._take(runs, device)

    def _take(self, runs: Sequence[RunSpec], device: torch.device) -> None:
        if not self._ensemble:
            slots = self.size.slots if self.size.fixed else len(runs)
            self._ensemble = ensemble(runs[0], slots, device, compile=self.size.compiled)
            self.compiler = self._ensemble.compiler
            self.slots = [None] * slots
        free = [i for i, slot in enumerate(self.slots) if slot is None]
        for i, run in zip(free, runs, strict=False):
            self._ensemble.load(i, run)
            digest = run.digest
            self.slots[i] = Slot(digest, self.queue.pop(digest))

    def state(self, slot: int) -> Tensor:
        """All weights in a slot, on the processor."""
        assert self._ensemble
        with self._aside():
            return torch.cat([w.flatten() for w in self._ensemble.weights(slot).values()]).cpu()

    def compact(self) -> None:
        """Drop the slots for which no run was left."""
        kept = [i for i, slot in enumerate(self.slots) if slot]
        if self._ensemble and not self.size.fixed and len(kept) < len(self.slots):
            self._ensemble.select(kept)
            self.slots = [self.slots[i] for i in kept]

    def halve(self) -> bool:
        """After running out of memory: begin anew with half as many slots; False if there is only one."""
        half = (len(self.slots) or self.size.slots) // 2
        self.abandon()
        self.size = self.size._replace(slots=max(1, half))
        return half > 0

    def abandon(self) -> None:
        """Put every unfinished run back into the queue, to be begun anew."""
        others = {**self.queue}
        self.queue.clear()
        self.queue.update({slot.digest: slot.run for slot in self.active} | others)
        self.slots, self._ensemble, self._launched = [], None, None

    def launch(self) -> None:
        """Give a GPU the next epoch, and do not wait for it. A processor has nothing to gain by that."""
        began = time.perf_counter()
        if self._ensemble and self._ensemble.on_gpu:
            with self._aside():  # what is asked for most is fetched at once, whether it will be needed or not
                self._launched = self._ensemble.launch(PROBE_ROWS)
        self._spent = time.perf_counter() - began

    def epoch(self) -> list[Slot]:
        """Train an epoch, or end the one that was launched; slots whose runs have ended are free from now on."""
        if self._launched is None:
            self.launch()
        with self._aside():
            return self._epoch()

    def _epoch(self) -> list[Slot]:
        assert self._ensemble
        began = time.perf_counter()
        probes: dict[Part, Measured] = {}
        if self._launched is None:
            running = self._ensemble.train().double().numpy()
        else:
            running, probes = advanced(self._launched, PROBE_ROWS)
            self._launched = None
        figures, finite = self._evaluate(self._ensemble, probes)
        finite &= np.isfinite(running)
        share = (self._spent + time.perf_counter() - began) / len(self.active)
        ended = []
        for i, slot in enumerate(self.slots):
            if slot:
                slot.seconds += share
                has_ended = slot.update(*map(float, figures[:, i]), finite=bool(finite[i]))
                if has_ended or slot.detector.first == slot.epoch:
                    slot.diagnostics.append(self._ensemble.diagnose(i, slot.epoch))
                if has_ended:
                    ended.append(slot)
                    self.slots[i] = None
                    self._ensemble.clear(i)
        if not self.active:
            self.slots, self._ensemble = [], None
        return ended

    def _evaluate(
        self, ensemble: Ensemble, probes: dict[Part, Measured]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Accuracies and losses (4, E) in the order of `Trace`, NaN where nobody asks; (E,) whether all are finite.

        probes: what all slots are known to have on the first `PROBE_ROWS` rows of a part.
        """
        figures = np.full((4, len(self.slots)), np.nan)
        finite = np.ones(len(self.slots), dtype=bool)

        def measure(chosen: Iterable[int], part: Part, most: int | None = None) -> list[tuple[int, float]]:
            slots = sorted(chosen)
            if not slots:
                return []
            measured = probes[part].of(slots) if most and probes else ensemble.measure(slots, part, most)
            finite[slots] &= measured.finite
            if most is None:
                figures[0 if part == "train" else 1, slots] = measured.accuracy
                figures[2 if part == "train" else 3, slots] = measured.loss
            return list(zip(slots, measured.accuracy, strict=True))

        def decide(chosen: set[int], part: Part) -> None:
            """Measure those of these slots that may be at the threshold, and those that are due."""
            large = {i for i in chosen - due if slots[i].run.task.part_rows(part) >= 2 * PROBE_ROWS}
            below = {i for i, seen in measure(large, part, PROBE_ROWS) if not slots[i].may_reach(part, seen)}
            measure((chosen | due) - below, part)

        slots = {i: slot for i, slot in enumerate(self.slots) if slot}
        due = {i for i, slot in slots.items() if slot.due}
        settled = {i for i, slot in slots.items() if slot.detector.settled}
        decide(set(slots) - settled, "train")
        fitted = {i for i, slot in slots.items() if figures[0, i] >= slot.run.criterion.train_threshold}
        decide(settled | fitted, "validation")
        return figures, finite
