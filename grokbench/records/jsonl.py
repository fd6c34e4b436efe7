"""Records in a small text file, without their curves: to be kept in a repository, and judged again anywhere.

The first line holds the provenances, each further line one run: digest, provenance by position, outcome, epochs, fit,
first, sustained, below, seconds, Unix time, and the diagnostics to six digits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from grokbench.records.grok import Diagnostics, GrokTime, Outcome, Trace
from grokbench.records.provenance import Provenance
from grokbench.records.store import Record
from grokbench.spec import UsageError

_NO_CURVES = Trace(*(np.zeros(0, kind) for kind in ("<i4", "<f8", "<f8", "<f4", "<f4")))


def save(path: Path, records: Iterable[Record]) -> None:
    """Write the records, in the order of their digests."""
    records = sorted(records, key=lambda record: record.digest)
    origins = list(dict.fromkeys(record.provenance for record in records))
    lines = [json.dumps([origin.as_dict() for origin in origins])]
    for r in records:
        t = r.time
        states = [[float(f"{x:.6g}") for x in vars(state).values()] for state in r.diagnostics]
        figures = [
            t.outcome.value,
            t.epochs,
            t.fit,
            t.first,
            t.sustained,
            t.below,
            round(r.seconds, 2),
            round(r.finished),
        ]
        lines.append(json.dumps([r.digest, origins.index(r.provenance), *figures, states], separators=(",", ":")))
    path.write_text("\n".join(lines) + "\n")


def load(path: Path) -> dict[str, Record]:
    """The records by digest, with empty curves. Raises `UsageError` if the file is not what `save` writes."""
    try:
        first, *rest = path.read_text().splitlines()
        origins = [Provenance(**content) for content in json.loads(first)]
        records = {}
        for line in rest:
            digest, origin, outcome, *figures, seconds, finished, states = json.loads(line)
            time = GrokTime(Outcome(outcome), *figures)
            diagnostics = tuple(Diagnostics(int(state[0]), *state[1:]) for state in states)
            records[digest] = Record(digest, time, _NO_CURVES, diagnostics, seconds, finished, origins[origin])
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise UsageError(f"{path} is not a file of records: {error}") from None
    return records
