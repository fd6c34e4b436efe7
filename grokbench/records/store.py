"""The store of finished runs: one SQLite file, one row a run, keyed by the digest of its spec. Torch-free.

A record is written in one transaction after its run has ended, so a killed process leaves whole records only.
Processes that share a store divide the runs among them by leases. A lease is renewed every second by a thread of its
holder; one that stands still is void, by the clock of who looks, so that clocks need not
agree (as in Optuna's journal storage).
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from grokbench.records import codec
from grokbench.records.grok import Diagnostics, GrokTime, Outcome, Trace
from grokbench.records.provenance import Provenance
from grokbench.spec import MachineError, RunSpec, UsageError

APPLICATION_ID = 0x67726F6B  # "grok"
SCHEMA_VERSION = 3
_MAGIC = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html
# SQLite's codes for what the user can mend: no such place, no right to write or read, not a database.
_USERS = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOTADB}
BUSY_SECONDS = 60.0  # for which another process may lock it
RENEW_SECONDS = 1.0
LEASE_SECONDS = 10.0  # after this without renewal, the lease of a process that cannot be seen from here is void

_SCHEMA = """
CREATE TABLE provenance (id INTEGER PRIMARY KEY, content TEXT NOT NULL UNIQUE);
CREATE TABLE runs (
    digest TEXT PRIMARY KEY,
    spec TEXT NOT NULL,
    outcome TEXT NOT NULL,
    epochs INTEGER NOT NULL,
    fit INTEGER,
    first INTEGER,
    sustained INTEGER,
    below INTEGER NOT NULL,
    curves BLOB NOT NULL,
    seconds REAL NOT NULL,
    finished REAL NOT NULL,
    provenance INTEGER NOT NULL REFERENCES provenance(id),
    diagnostics TEXT NOT NULL DEFAULT '[]'
) WITHOUT ROWID;
CREATE TABLE leases (
    digest TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started TEXT NOT NULL,
    renewed REAL NOT NULL
) WITHOUT ROWID;
"""


_MIGRATIONS = {
    1: "ALTER TABLE runs ADD COLUMN diagnostics TEXT NOT NULL DEFAULT '[]'",
    2: "",  # from here on diagnostics have names; lists without are still read
}


@dataclass(frozen=True)
class Record:
    """What is known of a finished run. seconds: its share of the wall time. finished: Unix time.

    diagnostics: at the first crossing, if there was one, and at the end.
    """

    digest: str
    time: GrokTime
    trace: Trace
    diagnostics: tuple[Diagnostics, ...]
    seconds: float
    finished: float
    provenance: Provenance


def _only_read(path: Path | str) -> bool:
    """Whether a store is there that may be read and not written: itself, or SQLite's journal beside it."""
    store = Path(path)
    return store.is_file() and not all(os.access(place, os.W_OK) for place in (store, store.parent))


class Store:
    """The runs in the file at `path`, which is made if there is none; a context manager.

    write: with False the file is only read, needs no right to write, and stays as it is, also if it is empty or of an
    older version; with None that is so where there is no right to write. Raises `UsageError` if the file is not a
    grokbench store, comes from a newer version, or may not be opened so, and `MachineError` where that fails: a damaged
    file, one that others lock for long, a full disk.
    """

    def __init__(self, path: Path | str, *, write: bool | None = True) -> None:
        self.path = Path(path)
        self.write = not _only_read(self.path) if write is None else write
        self._owner = uuid.uuid4().hex
        self._heartbeat: _Heartbeat | None = None
        self._seen: dict[str, tuple[tuple[object, ...], float]] = {}  # leases of others, and since when they look so
        self._check_file()
        try:
            self._db = self._connect()
        except sqlite3.Error as error:
            raise self._unopened(error) from None
        try:
            self._schema = self._check_schema()
        except sqlite3.Error as error:
            self._db.close()
            raise self._unopened(error) from None
        except UsageError:
            self._db.close()
            raise

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _unopened(self, error: sqlite3.Error) -> UsageError | MachineError:
        """What a failure to open it is: another file or right has to be given, or the machine has to be seen to."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary one, https://www.sqlite.org/rescode.html
        kind = UsageError if code in _USERS else MachineError
        return kind(f"cannot open the store {self.path}: {error}")

    def _connect(self) -> sqlite3.Connection:
        if self.write:
            return sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        if self.path.stat().st_size == 0:  # as if it were a new store
            return sqlite3.connect(":memory:", isolation_level=None)
        place = f"{self.path.resolve().as_uri()}?mode=ro"
        return sqlite3.connect(place, timeout=BUSY_SECONDS, isolation_level=None, uri=True)

    def _check_file(self) -> None:
        """Refuse, before SQLite could write to it, what is no database."""
        path, folder = self.path, self.path.parent
        if path.is_dir():
            raise UsageError(f"{path} is a folder: give a file as the store")
        if self.write and not folder.is_dir():
            raise UsageError(f"there is no folder {folder} for the store {path.name}: make it first")
        if not self.write and not path.exists():
            raise UsageError(f"there is no store {path}")
        if self.write and not os.access(path if path.exists() else folder, os.W_OK):
            raise UsageError(f"cannot write the store {path}")
        if path.exists():
            try:
                with path.open("rb") as file:
                    head = file.read(len(_MAGIC))
            except OSError as error:
                raise UsageError(f"cannot read the store {path}: {error.strerror}") from None
            if head not in (b"", _MAGIC):
                raise UsageError(f"{path} is not a grokbench store; it was left as it is")

    def _check_schema(self) -> int:
        """Make a new file a store, and refuse one that is somebody else's or from a newer version; its schema."""
        db = self._db
        with _Transaction(db, "IMMEDIATE" if self.write else "DEFERRED"):
            (identity,) = db.execute("PRAGMA application_id").fetchone()
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if identity == 0 and schema == 0 and tables == 0:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            elif identity != APPLICATION_ID:
                raise UsageError(f"{self.path} is a database, but not a grokbench store; it was left as it is")
            elif schema < 1:
                raise UsageError(f"{self.path} has schema {schema}, which no grokbench writes; it was left as it is")
            elif schema > SCHEMA_VERSION:
                raise UsageError(
                    f"{self.path} has schema {schema}, from a newer grokbench; this one reads up to {SCHEMA_VERSION}"
                )
            elif not self.write:
                return int(schema)
            else:
                for version in range(schema, SCHEMA_VERSION):
                    db.execute(_MIGRATIONS[version])
            db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            return SCHEMA_VERSION

    def close(self) -> None:
        """Give the leases back and close the file."""
        if self.write:
            with contextlib.suppress(sqlite3.Error):  # of a store that is gone; what made it so has been said
                self.release()
        if self._heartbeat:
            self._heartbeat.stop()
        self._db.close()

    def release(self) -> None:
        """Give the leases back."""
        self._db.execute("DELETE FROM leases WHERE owner = ?", (self._owner,))

    def get(self, digests: Iterable[str], since: float = 0.0) -> dict[str, Record]:
        """The records of those runs that are there and finished at Unix time `since` or later.

        Raises `MachineError` for one that is damaged.
        """
        found = {}
        for digest in digests:
            with self._reading(f"the record {digest} in "):
                if record := self._read(digest, since):
                    found[digest] = record
        return found

    @contextlib.contextmanager
    def _reading(self, what: str = "") -> Iterator[None]:
        """What cannot be understood is damaged; a store that is locked or out of reach is not."""
        try:
            yield
        except sqlite3.OperationalError:
            raise
        except (ValueError, TypeError, sqlite3.DatabaseError) as error:
            raise MachineError(f"{what}the store {self.path} is damaged: {error}") from error

    def _read(self, digest: str, since: float) -> Record | None:
        states = "diagnostics" if self._schema > 1 else "'[]'"
        figures = ", ".join(codec.TIME)
        row = self._db.execute(
            f"SELECT {figures}, curves, {states}, seconds, finished, runs.provenance, content "
            "FROM runs LEFT JOIN provenance ON provenance.id = runs.provenance WHERE digest = ? AND finished >= ?",
            (digest, since),
        ).fetchone()
        if row is None:
            return None
        *values, curves, diagnostics, seconds, finished, origin, content = row
        if content is None:
            raise ValueError(f"its provenance {origin} is missing")
        return Record(
            digest,
            codec.grok_time(dict(zip(codec.TIME, values, strict=True))),
            codec.unpack(curves),
            codec.read_diagnostics(diagnostics),
            float(seconds),
            float(finished),
            codec.provenance(json.loads(content)),
        )

    def search(self, beginning: str) -> dict[str, str]:
        """Specs, as JSON, of the runs whose digests begin so; see `RunSpec.from_json`."""
        asked = "SELECT digest, spec FROM runs WHERE substr(digest, 1, ?) = ? ORDER BY digest"
        with self._reading():
            return dict(self._db.execute(asked, (len(beginning), beginning)).fetchall())

    def listing(self) -> list[tuple[str, str, Outcome, int, int | None]]:
        """All runs without their curves: digest, spec as JSON, outcome, epochs trained and first crossing."""
        with self._reading():
            rows = self._db.execute("SELECT digest, spec, outcome, epochs, first FROM runs ORDER BY digest").fetchall()
            return [(digest, spec, Outcome(outcome), epochs, first) for digest, spec, outcome, epochs, first in rows]

    def known(self, digests: Iterable[str], since: float = 0.0) -> set[str]:
        """Those runs that `get` would find, without reading their records."""
        with self._reading():
            rows = self._db.execute("SELECT digest FROM runs WHERE finished >= ?", (since,))
            return {digest for (digest,) in rows} & set(digests)

    def put(
        self,
        run: RunSpec,
        time_: GrokTime,
        trace: Trace,
        diagnostics: Sequence[Diagnostics],
        seconds: float,
        provenance: Provenance,
        since: float = 0.0,
    ) -> None:
        """Write a finished run, in place of an older record if there is one, and end its lease.

        since: the Unix time that it was begun after; it cannot have finished before, even if the clock was set back.
        """
        content, states = codec.write_provenance(provenance), codec.write_diagnostics(diagnostics)
        with _Transaction(self._db):
            self._db.execute("INSERT OR IGNORE INTO provenance (content) VALUES (?)", (content,))
            (origin,) = self._db.execute("SELECT id FROM provenance WHERE content = ?", (content,)).fetchone()
            figures = [codec.time_fields(time_)[name] for name in codec.TIME]
            self._db.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run.digest,
                    run.to_json(),
                    *figures,
                    codec.pack(trace),
                    seconds,
                    max(time.time(), since),
                    origin,
                    states,
                ),
            )
            self._db.execute("DELETE FROM leases WHERE digest = ?", (run.digest,))

    def claim(self, digest: str, since: float = 0.0) -> bool:
        """Take the lease of a run that is not there yet; False if another living process has it or it is there."""
        with _Transaction(self._db):
            done = self._db.execute("SELECT 1 FROM runs WHERE digest = ? AND finished >= ?", (digest, since))
            if done.fetchone():
                return False
            row = self._db.execute(
                "SELECT owner, host, pid, started, renewed FROM leases WHERE digest = ?", (digest,)
            ).fetchone()
            if row and row[0] != self._owner and self._alive(digest, row):
                return False
            lease = (digest, self._owner, _place(), os.getpid(), _started(os.getpid()), time.time())
            self._db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)", lease)
        if self._heartbeat is None:
            self._heartbeat = _Heartbeat(self.path, self._owner)
        return True

    def holders(self, digests: Iterable[str]) -> list[str]:
        """The processes that have leases of these runs, as text."""
        rows = self._db.execute("SELECT digest, pid, host FROM leases ORDER BY host, pid").fetchall()
        among = set(digests)
        return list(dict.fromkeys(f"process {pid} of {host.split()[0]}" for d, pid, host in rows if d in among))

    def _alive(self, digest: str, lease: tuple[str, str, int, str, float]) -> bool:
        """Whether the holder of a lease still runs. Here that can be seen; elsewhere, whether its lease changes."""
        _, place, pid, started, _ = lease
        if place == _place():
            return _runs(pid, started)
        before, since = self._seen.get(digest, (None, 0.0))
        now = time.monotonic()
        if before != lease:
            self._seen[digest] = lease, now
            return True
        return now - since < LEASE_SECONDS


class _Heartbeat(threading.Thread):
    """Renews the leases of an owner every second, whatever its main thread is busy with."""

    def __init__(self, path: Path, owner: str) -> None:
        super().__init__(daemon=True)
        self._path, self._owner, self._end = path, owner, threading.Event()
        self.start()

    def run(self) -> None:
        while not self._end.wait(RENEW_SECONDS):
            # A store that is locked for long or gone: the main thread meets the same, and says so.
            with contextlib.suppress(sqlite3.Error), contextlib.closing(self._open()) as db, db:
                db.execute("UPDATE leases SET renewed = ? WHERE owner = ?", (time.time(), self._owner))

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=rw", timeout=LEASE_SECONDS / 2, uri=True)

    def stop(self) -> None:
        self._end.set()
        self.join()


class _Transaction:
    """Takes the write lock at once, so that what is read inside cannot change before it is written."""

    def __init__(self, db: sqlite3.Connection, kind: str = "IMMEDIATE") -> None:
        self._db, self._kind = db, kind

    def __enter__(self) -> None:
        self._db.execute(f"BEGIN {self._kind}")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if not kind:
            self._db.execute("COMMIT")
        elif self._db.in_transaction:  # SQLite ends it itself where the disk is full
            self._db.execute("ROLLBACK")


def _place() -> str:
    """Where numbers of processes mean the same: the machine, and the container in it."""
    try:
        return f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # not Linux
        return socket.gethostname()


def _runs(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return _started(pid) == started


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks, to tell it from a later one of the same number; "" if unknown.

    "ended" for one that has ended, though nobody has taken notice, as happens in containers.
    """
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "ended" if state in "ZX" else rest[18]
