"""RunSpecs -> Records on this machine: groups runs by shape, keeps ensembles' slots full, stores what ends.

A run that has its answer retires at once, and the next run of the same shape takes its slot. An exception,
whatever its cause, leaves the records that are already stored and trains nothing into the store.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch

from grokbench.engine import sizing
from grokbench.engine.ensemble import shape
from grokbench.engine.pack import Pack, Running, Slot
from grokbench.numerics.frame import numerics
from grokbench.records import provenance
from grokbench.records.store import Record, Store
from grokbench.spec import RunSpec, UsageError, choose
from grokbench.spec.errors import out_of_memory

DEVICES = ("auto", "cpu", "cuda")
WAIT_SECONDS = 0.2  # between looks at the store while other processes train what is wanted here
SAID_SECONDS = 10.0  # of waiting, before it is said for whom
LOOK_SECONDS = 1.0  # and while there is something to train here, too
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of the GNU C library


class Progress(NamedTuple):
    """State of the work.

    wanted: runs asked for so far. done: those with a record. found: those that had one when they were asked for.
    trained: those that this process trained. waiting: who trains what is missing, once there has been nothing to train
    here for `SAID_SECONDS`.
    """

    wanted: int
    done: int
    found: int
    trained: int
    running: tuple[Running, ...]
    waiting: tuple[str, ...]


Listener = Callable[[Progress], None]


def resolve_device(name: str) -> str:
    """'cpu' or 'cuda'. Raises `UsageError` where CUDA is asked for and there is none."""
    choose("device", name, DEVICES)
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise UsageError("no CUDA device is available here: choose --device cpu")
    return ("cuda" if available else "cpu") if name == "auto" else name


class Executor:
    """Trains runs that the store does not have, on one device.

    divided: other processes work on the same runs, so free slots take only what is wanted now; else they may take any
    run that has been asked for. since: records older than this Unix time do not count. watch: called about every
    second; what it raises ends the work.
    """

    def __init__(
        self,
        store: Store,
        device: str = "auto",
        *,
        divided: bool = False,
        since: float = 0.0,
        listener: Listener | None = None,
        watch: Callable[[], None] | None = None,
    ) -> None:
        self._store, self._divided, self._since, self._listener = store, divided, since, listener
        self._watch = watch
        self._device = resolve_device(device)
        _keep_freed_memory()
        with numerics():
            self._provenance = provenance.capture(self._device)
        self._shapes: dict[Hashable, list[Pack]] = {}  # packs of one shape, with one queue
        self._at_once = sizing.AT_ONCE[self._device]
        self._asked: dict[str, RunSpec] = {}
        self._done: set[str] = set()
        self._held: set[str] = set()  # by other processes, when last seen
        self._looked = time.monotonic()
        self._found = self._trained = 0
        self._idle: float | None = None  # since when there is nothing to train here

    def need(self, runs: Iterable[RunSpec]) -> None:
        """Say which runs will be asked for, so that they can share ensembles."""
        new = {run.digest: run for run in runs if run.digest not in self._asked}
        self._asked |= new
        have = self._store.known(new, self._since)
        self._done |= have
        self._found += len(have)
        for digest, run in new.items():
            if digest not in have:
                self._pack(run).queue[digest] = run

    def _pack(self, run: RunSpec) -> Pack:
        kind = (shape(run), size := sizing.pack_size(run, self._device))
        return self._shapes.setdefault(kind, [Pack(size)])[0]

    @property
    def _packs(self) -> list[Pack]:
        return [pack for packs in self._shapes.values() for pack in packs]

    def records(self, runs: Sequence[RunSpec]) -> dict[str, Record]:
        """The records of these runs by digest, trained first where there is none yet."""
        self.need(runs)
        wanted = {run.digest: run for run in runs}
        missing = set(wanted) - self._done
        self._idle = None
        while missing:
            try:
                trained = self._advance(missing)
                if trained:
                    self._idle = None
                else:
                    self._wait()
                self._look(always=not trained)
            except BaseException:
                self._abandon()
                raise
            missing -= self._done
        return self._store.get(wanted, self._since)

    def _wait(self) -> None:
        """Give other processes time to train what is wanted here."""
        self._idle = self._idle or time.monotonic()
        time.sleep(WAIT_SECONDS)
        if self._listener:
            self._listener(self.progress())

    def _look(self, *, always: bool) -> None:
        """Now and then, see which runs others have finished."""
        if not always and time.monotonic() < self._looked + LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        if self._watch:
            self._watch()
        self._held.clear()
        elsewhere = self._store.known(set(self._asked) - self._done, self._since)
        self._done |= elsewhere
        for pack in self._packs:
            for digest in elsewhere:
                pack.queue.pop(digest, None)

    def _advance(self, missing: set[str]) -> bool:
        """Train one epoch of a pack, or of several at once; False if there is none to train here."""
        chosen: list[Pack] = []
        room = sizing.room(self._device)
        for pack in self._order(missing):
            if chosen and (len(chosen) >= self._at_once or sum(p.size.bytes for p in (*chosen, pack)) > room):
                break
            if pack in chosen:
                continue
            try:
                self._refill(pack, missing)
                if pack.active:
                    pack.launch()
                    chosen.append(pack)
            except (MemoryError, RuntimeError) as error:
                self._spare(pack, len(chosen) + 1, error)
                chosen = chosen or [pack]
                break
        for pack in chosen:
            ended: list[Slot] = []
            try:
                ended = pack.epoch() if pack.active else []
            except (MemoryError, RuntimeError) as error:
                self._spare(pack, len(chosen), error)
            self._keep(pack, ended)
        return bool(chosen)

    def _order(self, missing: set[str]) -> Iterator[Pack]:
        """The packs, those first that should train first.

        What has been begun is ended first, so that few leases are held, then what is missing. Where that is in
        other processes' hands, they may be waiting for what is in ours. Where one is full, another one helps it.
        """
        packs = self._packs
        yield from [pack for pack in packs if pack.active]
        yield from [pack for pack in packs if not missing.isdisjoint(pack.queue)]
        if not self._divided:
            yield from packs
        for alike in self._shapes.values():
            while self._at_once > 1 and self._full(alike, missing):
                alike.append(Pack(alike[0].size, alike[0].queue))
                yield alike[-1]

    def _full(self, alike: list[Pack], missing: set[str]) -> bool:
        """Whether runs of one shape wait that could begin, while all packs of that shape are full."""
        waiting = alike[0].queue.keys() - self._held
        return bool(waiting & missing if self._divided else waiting) and not any(pack.room for pack in alike)

    def _spare(self, pack: Pack, at_once: int, error: MemoryError | RuntimeError) -> None:
        """After running out of memory: fewer packs at once, which changes no bits, or else fewer slots."""
        if not out_of_memory(error):
            raise error
        if at_once > 1:
            self._at_once = at_once - 1
            pack.abandon()
        elif not pack.halve():
            raise error

    def _refill(self, pack: Pack, missing: set[str]) -> None:
        """Load queued runs into free slots, those that are missing first."""
        if not pack.room:
            return
        claimed: list[RunSpec] = []
        for digest, run in sorted(pack.queue.items(), key=lambda item: item[0] not in missing):  # stable
            if len(claimed) == pack.room or (self._divided and digest not in missing):
                break
            if digest in self._held:
                continue
            if self._store.claim(digest, self._since):
                claimed.append(run)
            else:
                self._held.add(digest)
        if claimed:
            pack.take(claimed, torch.device(self._device))
        pack.compact()

    def _abandon(self) -> None:
        """After a failure, put every run without a record back into its queue, to be begun anew."""
        for pack in self._packs:
            pack.abandon()
        for digest, run in self._asked.items():  # also those that ended and could not be stored
            if digest not in self._done:
                self._pack(run).queue.setdefault(digest, run)
        self._store.release()

    def _keep(self, pack: Pack, ended: Sequence[Slot]) -> None:
        """Store the records of runs that have ended in a pack."""
        compiler = sizing.compiler(self._device) if pack.size.compiled else pack.compiler
        origin = replace(self._provenance, compiler=compiler)
        for slot in ended:
            grok = slot.detector.result(slot.epoch, slot.diverged)
            self._store.put(slot.run, grok, slot.trace(), slot.diagnosed(), slot.seconds, origin, self._since)
            self._done.add(slot.digest)
            self._trained += 1
        if self._listener:
            self._listener(self.progress())

    def progress(self) -> Progress:
        """What is running and how much is done."""
        running = tuple(Running(slot.run, slot.epoch, *slot.latest) for pack in self._packs for slot in pack.active)
        waiting: tuple[str, ...] = ()
        if self._idle is not None and time.monotonic() >= self._idle + SAID_SECONDS:
            waiting = tuple(self._store.holders(set(self._asked) - self._done))
        return Progress(len(self._asked), len(self._done), self._found, self._trained, running, waiting)


def _keep_freed_memory() -> None:
    """Ask the GNU C library to keep freed blocks instead of giving them back to the system.

    A step allocates and frees the same megabytes again and again; otherwise every one of their pages is
    faulted in anew, which here took about a third of the time.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library
        return
    mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
