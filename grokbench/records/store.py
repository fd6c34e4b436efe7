"""The store of finished runs: one SQLite file, one row a run, keyed by the digest of its spec. Torch-free.

A record is written in one transaction after its run has ended, so a killed process leaves whole records only.
Processes that share a store divide the runs among them by leases.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import time
import uuid
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grokbench.records.grok import Diagnostics, GrokTime, Outcome, Trace
from grokbench.records.provenance import Provenance
from grokbench.spec import RunSpec, UsageError

APPLICATION_ID = 0x67726F6B  # "grok"
SCHEMA_VERSION = 2
_MAGIC = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html
LEASE_SECONDS = 600.0  # after this without renewal, the lease of a process on another machine is void

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


_MIGRATIONS = {1: "ALTER TABLE runs ADD COLUMN diagnostics TEXT NOT NULL DEFAULT '[]'"}


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


class Store:
    """The runs in the file at `path`, which is made if there is none.

    Raises `UsageError` if the file is not a grokbench store, comes from a newer version, or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._owner = uuid.uuid4().hex
        self._check_file()
        self._db = sqlite3.connect(self.path, timeout=60, isolation_level=None)
        try:
            self._check_schema()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise UsageError(f"cannot open the store {self.path}: {error}") from None
        except UsageError:
            self._db.close()
            raise

    def _check_file(self) -> None:
        """Refuse, before SQLite could write to it, what is no database."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot make the folder of the store {self.path}: {error.strerror}") from None
        if self.path.is_dir() or not os.access(self.path if self.path.exists() else self.path.parent, os.W_OK):
            raise UsageError(f"cannot write the store {self.path}")
        if self.path.exists():
            with self.path.open("rb") as file:
                head = file.read(len(_MAGIC))
            if head not in (b"", _MAGIC):
                raise UsageError(f"{self.path} is not a grokbench store; it was left as it is")

    def _check_schema(self) -> None:
        """Make a new file a store, and refuse one that is somebody else's or from a newer version."""
        db = self._db
        with _Transaction(db):
            (identity,) = db.execute("PRAGMA application_id").fetchone()
            (schema,) = db.execute("PRAGMA user_version").fetchone()
            (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if identity == 0 and schema == 0 and tables == 0:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif identity != APPLICATION_ID:
                raise UsageError(f"{self.path} is a database, but not a grokbench store; it was left as it is")
            elif schema < 1:
                raise UsageError(f"{self.path} has schema {schema}, which no grokbench writes; it was left as it is")
            elif schema > SCHEMA_VERSION:
                raise UsageError(
                    f"{self.path} has schema {schema}, from a newer grokbench; this one reads up to {SCHEMA_VERSION}"
                )
            else:
                for version in range(schema, SCHEMA_VERSION):
                    db.execute(_MIGRATIONS[version])
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        """Give the leases back and close the file."""
        self.release()
        self._db.close()

    def release(self) -> None:
        """Give the leases back."""
        self._db.execute("DELETE FROM leases WHERE owner = ?", (self._owner,))

    def get(self, digests: Iterable[str], since: float = 0.0) -> dict[str, Record]:
        """The records of those runs that are there and finished at Unix time `since` or later."""
        found = {}
        for digest in digests:
            row = self._db.execute(
                "SELECT outcome, epochs, fit, first, sustained, below, curves, diagnostics, seconds, finished, content "
                "FROM runs JOIN provenance ON provenance.id = runs.provenance WHERE digest = ? AND finished >= ?",
                (digest, since),
            ).fetchone()
            if row:
                outcome, *figures, curves, diagnostics, seconds, finished, content = row
                time_ = GrokTime(Outcome(outcome), *figures)
                provenance = Provenance(**json.loads(content))
                states = tuple(Diagnostics(*state) for state in json.loads(diagnostics))
                found[digest] = Record(digest, time_, _unpack(curves), states, seconds, finished, provenance)
        return found

    def search(self, beginning: str) -> dict[str, str]:
        """Specs, as JSON, of the runs whose digests begin so."""
        rows = self._db.execute(
            "SELECT digest, spec FROM runs WHERE substr(digest, 1, ?) = ? ORDER BY digest", (len(beginning), beginning)
        )
        return dict(rows.fetchall())

    def known(self, digests: Iterable[str], since: float = 0.0) -> set[str]:
        """Those runs that `get` would find, without reading their records."""
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
    ) -> None:
        """Write a finished run, in place of an older record if there is one, and end its lease."""
        t = time_
        content = json.dumps(provenance.as_dict(), sort_keys=True)
        states = json.dumps([list(vars(state).values()) for state in diagnostics])
        with _Transaction(self._db):
            self._db.execute("INSERT OR IGNORE INTO provenance (content) VALUES (?)", (content,))
            (origin,) = self._db.execute("SELECT id FROM provenance WHERE content = ?", (content,)).fetchone()
            figures = (t.outcome.value, t.epochs, t.fit, t.first, t.sustained, t.below)
            self._db.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (run.digest, run.to_json(), *figures, _pack(trace), seconds, time.time(), origin, states),
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
            if row and row[0] != self._owner and _alive(*row[1:]):
                return False
            lease = (digest, self._owner, socket.gethostname(), os.getpid(), _started(os.getpid()), time.time())
            self._db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?)", lease)
        return True

    def renew(self) -> None:
        """Say that this process is alive and still has its leases."""
        self._db.execute("UPDATE leases SET renewed = ? WHERE owner = ?", (time.time(), self._owner))


class _Transaction:
    """Takes the write lock at once, so that what is read inside cannot change before it is written."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")


def _alive(host: str, pid: int, started: str, renewed: float) -> bool:
    """Whether the holder of a lease still runs. On this machine that can be seen; of another one only heard."""
    if host != socket.gethostname():
        return time.time() - renewed < LEASE_SECONDS
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


# The arrays of a `Trace`, in order, little-endian.
_CURVES = ("<i4", "<f8", "<f8", "<f4", "<f4")


def _pack(trace: Trace) -> bytes:
    arrays = zip(vars(trace).values(), _CURVES, strict=True)
    return zlib.compress(b"".join(np.asarray(array, kind).tobytes() for array, kind in arrays), 9)


def _unpack(blob: bytes) -> Trace:
    content = zlib.decompress(blob)
    widths = [np.dtype(kind).itemsize for kind in _CURVES]
    count, start, arrays = len(content) // sum(widths), 0, []
    for kind, width in zip(_CURVES, widths, strict=True):
        arrays.append(np.frombuffer(content, kind, count, start))
        start += count * width
    return Trace(*arrays)
