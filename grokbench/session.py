"""What one invocation asks for, and its answers: options -> claims -> cases -> verdicts. Torch-free until it trains."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from grokbench import presets
from grokbench.claims import Arm, Cell, Claim, tveit2025
from grokbench.optim import registry
from grokbench.spec import RunSpec, UsageError, choose
from grokbench.store import Record, Store

if TYPE_CHECKING:
    from grokbench.executor import Executor, Listener
    from grokbench.verdict import Verdict
    from grokbench.workers import Workers

DEFAULT_PRESET = "ci"
MOST_REPLICAS = 10_000
DEFAULT_STORE = "grokbench.sqlite"


@dataclass(frozen=True)
class Options:
    """What the user chose; empty tuples and None mean all that the preset has. since: see `Executor`."""

    preset: str = DEFAULT_PRESET
    tasks: tuple[str, ...] = ()
    softmaxes: tuple[str, ...] = ()
    optimizers: tuple[str, ...] = ()
    replicas: int | None = None
    store: Path = Path(DEFAULT_STORE)
    device: str = "auto"
    threads: int | None = None
    since: float = 0.0


class Case(NamedTuple):
    """One question: a claim in a cell, or over all cells (`cell` None)."""

    claim: Claim
    cell: Cell | None

    @property
    def id(self) -> str:
        return f"{self.claim.name}-{self.cell or 'pooled'}"


def cases(options: Options) -> tuple[Case, ...]:
    """Every case that the options ask for, cells first. Raises `UsageError` that lists the choices."""
    preset = presets.get(options.preset)
    known = {task.name: task for task in preset.tasks}
    tasks = [known[choose(f"task of preset {preset.name}", t, tuple(known))] for t in _unique(options.tasks)]
    softmaxes = [choose(f"softmax of preset {preset.name}", s, preset.softmaxes) for s in _unique(options.softmaxes)]
    cells = tuple(Cell(t, s) for t in tasks or preset.tasks for s in softmaxes or preset.softmaxes)
    limits = (("replicas", options.replicas, MOST_REPLICAS), ("threads", options.threads, os.cpu_count() or 1))
    for name, value, most in limits:
        if value is not None and not 1 <= value <= most:
            raise UsageError(f"{name} must be at least 1 and at most {most}, not {value}")
    baseline, *candidates = _arms(preset, options.optimizers or preset.arms)
    claims = [tveit2025.earlier(preset, baseline, candidate, cells, options.replicas) for candidate in candidates]
    return tuple(Case(claim, cell) for claim in claims for cell in (*cells, None))


def _unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _arms(preset: presets.Preset, texts: Sequence[str]) -> list[Arm]:
    if len(texts) < 2:
        raise UsageError(f"a comparison needs two optimizers, the baseline first, not only {texts[0]!r}")
    specs = [registry.parse(text, preset.optimizers) for text in texts]
    short = [spec.name.partition(":")[2] or spec.name for spec in specs]
    labels = [
        name if short.count(name) == 1 else text.replace(" ", "") for name, text in zip(short, texts, strict=True)
    ]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"the optimizer {label!r} is named twice: name different ones")
    return [Arm(label, spec) for label, spec in zip(labels, specs, strict=True)]


class Session:
    """Answers cases from the store, and trains what is missing there.

    share: other processes work on the same cases, so train only what is asked for next.
    """

    def __init__(
        self, options: Options, selected: Iterable[Case], *, share: bool = False, listener: Listener | None = None
    ) -> None:
        self._options, self._share, self._listener = options, share, listener
        self.selected = tuple(dict.fromkeys(selected))
        self.store = Store(options.store)
        self._executor: Executor | None = None
        self._workers: Workers | None = None

    def close(self) -> None:
        """End the workers and close the store."""
        if self._workers:
            self._workers.close()
        self.store.close()

    def _family(self, claim: Claim) -> list[Cell]:
        """The cells over which a claim's tests are corrected: those that were selected."""
        return [case.cell for case in self.selected if case.claim == claim and case.cell]

    def cells(self, case: Case) -> Sequence[Cell]:
        """The cells that a case speaks of; a pooled one of all cells of its claim, whatever else was selected."""
        return [case.cell] if case.cell else case.claim.cells

    def runs(self, case: Case) -> list[RunSpec]:
        """All runs that a case needs."""
        return [run for cell in self.cells(case) for arm in case.claim.arms for run in case.claim.runs(cell, arm)]

    def _train(self, runs: Sequence[RunSpec]) -> dict[str, Record]:
        if self._executor is None:
            # What the store answers in full needs no torch.
            found = self.store.get((run.digest for run in runs), self._options.since)
            if all(run.digest in found for run in runs):
                return found
            self._executor = self._start()
        return self._executor.records(runs)

    def _start(self) -> Executor:
        """An executor that knows all runs; on a CPU with several threads, workers beside it."""
        import torch

        from grokbench.executor import Executor, resolve_device
        from grokbench.workers import Workers, share

        options = self._options
        needed = {run.digest: run for case in self.selected for run in self.runs(case)}
        done = self.store.known(needed, options.since)
        missing = [run for digest, run in needed.items() if digest not in done]
        threads = options.threads or torch.get_num_threads()
        alone = self._share or resolve_device(options.device) != "cpu"
        processes = 1 if alone else share(threads, len(missing))
        if processes > 1:
            self._workers = Workers(processes - 1, missing, options.store, options.since)
        executor = Executor(
            self.store,
            options.device,
            threads // processes,
            fill=not self._share,
            since=options.since,
            listener=self._listener,
        )
        executor.need(needed.values())
        return executor

    def verdict(self, case: Case) -> Verdict:
        """The verdict of one case, after training what it needs.

        A cell is judged from its own runs where the other cells cannot change its status through Holm's
        adjustment; only in between does it wait for them.
        """
        from grokbench import verdict

        records = self._train(self.runs(case))
        if case.cell is None:
            pooled = verdict.pool(case.claim, self.cells(case), records)
            assert pooled is not None
            return pooled
        family = self._family(case.claim) or [case.cell]
        (own,) = verdict.judge(case.claim, family, records)
        if own.decided:
            return own
        others = [run for other in self.selected if other.claim == case.claim for run in self.runs(other)]
        verdicts = verdict.judge(case.claim, family, self._train(others))
        return next(v for v in verdicts if v.cell == case.cell)

    def answers(self) -> tuple[list[Verdict], list[tuple[RunSpec, str, Record]]]:
        """What the store now says: the verdicts of the selected cases, and their runs with arm and record."""
        from grokbench import verdict

        verdicts: list[Verdict] = []
        runs: dict[str, tuple[RunSpec, str, Record]] = {}
        for claim in dict.fromkeys(case.claim for case in self.selected):
            mine = [case for case in self.selected if case.claim == claim]
            needed = {
                run.digest: (run, arm.label)
                for case in mine
                for cell in self.cells(case)
                for arm in claim.arms
                for run in claim.runs(cell, arm)
            }
            records = self.store.get(needed, self._options.since)
            runs |= {digest: (*needed[digest], record) for digest, record in records.items()}
            verdicts += verdict.judge(claim, self._family(claim), records)
            if pooled := next((case for case in mine if case.cell is None), None):
                verdicts += filter(None, [verdict.pool(claim, self.cells(pooled), records)])
        return verdicts, list(runs.values())
