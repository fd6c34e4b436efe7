"""Trains what a store does not have: in this process and, on a processor of several threads, in workers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from grokbench.records.store import Record, Store
from grokbench.spec import OptimizerSpec, RunSpec, UsageError
from grokbench.training import cores

if TYPE_CHECKING:
    from grokbench.training.local import Executor, Listener
    from grokbench.training.workers import Workers


class Trainer:
    """Answers runs from the store, and trains the others. Imports torch when there is something to train.

    threads: on a processor, how many processes of one thread each may train; None for torch's own number of threads,
    which OMP_NUM_THREADS sets, but no more than the cores. Raises `UsageError` for more than these.
    divided: other processes work on the same runs, so train only what is asked for. since: see `Executor`.
    """

    def __init__(
        self,
        store: Store,
        device: str = "auto",
        threads: int | None = None,
        *,
        divided: bool = False,
        since: float = 0.0,
        listener: Listener | None = None,
    ) -> None:
        cores.check(threads)
        self._store, self._device, self._divided, self._since = store, device, divided, since
        self._listener = listener
        self._threads = threads
        self._executor: Executor | None = None
        self._workers: Workers | None = None
        self._tried: set[OptimizerSpec] = set()

    def __enter__(self) -> Trainer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        if self._workers:
            self._workers.close()

    def train(self, wanted: Sequence[RunSpec], coming: Sequence[RunSpec] = ()) -> dict[str, Record]:
        """The records of the wanted runs by digest. coming: what will be asked for next, to share ensembles with.

        Raises `UsageError`, before anything is trained, for a plug-in that cannot be made or do a first step and for a
        store that lacks runs and may not be written, and `MachineError` if a worker is killed. Of this process itself
        nobody takes notice.
        """
        if not self._store.write:
            return self._found(wanted)
        everything = list({run.digest: run for run in (*wanted, *coming)}.values())
        if self._executor is None:
            self._executor = self._start()
        self._try(everything)
        if not self._divided:
            self._employ(everything)
            self._executor.need(everything)
        return self._executor.records(wanted)

    def _found(self, wanted: Sequence[RunSpec]) -> dict[str, Record]:
        found = self._store.get((run.digest for run in wanted), self._since)
        if lacks := len({run.digest for run in wanted}) - len(found):
            lacking = f"it lacks {lacks} or more of the runs that are asked for"
            raise UsageError(f"cannot write the store {self._store.path}, and {lacking}")
        return found

    def _start(self) -> Executor:
        from grokbench.training.local import Executor

        return Executor(
            self._store,
            self._device,
            divided=self._divided,
            since=self._since,
            listener=self._listener,
            watch=self._watch,
        )

    def _watch(self) -> None:
        if self._workers:
            self._workers.check()

    def _try(self, runs: Sequence[RunSpec]) -> None:
        """Let every plug-in that is to be trained do its first step, once."""
        import torch

        from grokbench.optim.trial import attempt, plugged
        from grokbench.training.local import resolve_device

        known = self._store.known((run.digest for run in runs), self._since)
        for optimizer, run in plugged(run for run in runs if run.digest not in known).items():
            if optimizer not in self._tried:
                attempt(run, torch.device(resolve_device(self._device)))
                self._tried.add(optimizer)

    def _processes(self, runs: int) -> int:
        """Into how many processes to divide so many runs: on a CPU with several threads, more than one."""
        import torch

        from grokbench.training.local import resolve_device
        from grokbench.training.workers import processes_for

        alone = self._divided or resolve_device(self._device) != "cpu"
        return 1 if alone else processes_for(self._threads or min(torch.get_num_threads(), cores.count()), runs)

    def _employ(self, runs: Sequence[RunSpec]) -> None:
        """Start workers for these runs, unless there are some at work or the runs are too few."""
        from grokbench.training.workers import Workers

        if self._workers and self._workers.busy:
            return
        if (processes := self._processes(len(runs))) > 1:
            if self._workers:
                self._workers.close()
            self._workers = Workers(processes - 1, runs, self._store.path, self._since)
