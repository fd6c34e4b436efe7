"""Records in a small text file, without their curves: to be kept in a repository, and judged again anywhere.

The first line holds the provenances and the names of the columns, each further line one run: the values of these
columns, with the provenance by position and the diagnostics to six digits. Files whose first line is a list of
provenances alone have the first columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from grokbench.records import codec
from grokbench.records.store import Record
from grokbench.spec import UsageError

_COLUMNS = ("digest", "provenance", *codec.TIME, "seconds", "finished", "diagnostics")


def save(path: Path, records: Iterable[Record]) -> None:
    """Write the records, in the order of their digests."""
    records = sorted(records, key=lambda record: record.digest)
    origins = list(dict.fromkeys(record.provenance for record in records))
    head = {
        "provenance": [origin.as_dict() for origin in origins],
        "columns": _COLUMNS,
        "diagnostics": codec.DIAGNOSTICS,
    }
    lines = [json.dumps(head)]
    for r in records:
        values = {
            "digest": r.digest,
            "provenance": origins.index(r.provenance),
            **codec.time_fields(r.time),
            "seconds": round(r.seconds, 2),
            "finished": round(r.finished),
            "diagnostics": [[float(f"{x:.6g}") for x in vars(state).values()] for state in r.diagnostics],
        }
        lines.append(json.dumps([values[name] for name in _COLUMNS], separators=(",", ":")))
    path.write_text("\n".join(lines) + "\n")


def load(path: Path) -> dict[str, Record]:
    """The records by digest, with empty curves. Raises `UsageError` if the file is not what `save` writes."""
    try:
        first, *rest = path.read_text().splitlines()
        head = json.loads(first)
        if isinstance(head, list):
            head = {"provenance": head, "columns": _COLUMNS}
        origins = [codec.provenance(content) for content in head["provenance"]]
        names = {"names": head["diagnostics"]} if "diagnostics" in head else {}
        records = {}
        for line in rest:
            row = dict(zip(head["columns"], json.loads(line), strict=True))
            states = codec.diagnostics(row["diagnostics"], **names)
            digest, seconds, finished = str(row["digest"]), float(row["seconds"]), float(row["finished"])
            origin = origins[row["provenance"]]
            records[digest] = Record(digest, codec.grok_time(row), codec.NO_CURVES, states, seconds, finished, origin)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, TypeError, IndexError, KeyError) as error:
        raise UsageError(f"{path} is not a file of records: {error}") from None
    return records
