"""Verdicts, runs and provenance as JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokbench.provenance import Provenance
from grokbench.report.terminal import Runs
from grokbench.spec import UsageError
from grokbench.verdict import Verdict


def document(verdicts: Sequence[Verdict], runs: Runs) -> dict[str, Any]:
    """{"verdicts": [...], "runs": [...], "provenance": [...]}; a run names its provenance by position."""
    origins: list[Provenance] = list(dict.fromkeys(record.provenance for _, _, record in runs))
    return {
        "verdicts": [_verdict(v) for v in verdicts],
        "runs": [
            {
                "digest": record.digest,
                "task": run.task.name,
                "softmax": run.softmax,
                "arm": arm,
                "optimizer": str(run.optimizer),
                "replica": run.replica,
                "outcome": record.time.outcome.value,
                "epochs": record.time.epochs,
                "fit": record.time.fit,
                "first": record.time.first,
                "sustained": record.time.sustained,
                "below": record.time.below,
                "seconds": record.seconds,
                "provenance": origins.index(record.provenance),
            }
            for run, arm, record in runs
        ],
        "provenance": [origin.as_dict() for origin in origins],
    }


def _verdict(v: Verdict) -> dict[str, Any]:
    return {
        "claim": v.claim,
        "cell": {"task": v.cell.task.name, "softmax": v.cell.softmax} if v.cell else None,
        "arms": list(v.arms),
        "status": v.status.value,
        "reason": v.reason,
        "pairs": v.pairs,
        "ratio": v.ratio,
        "interval": list(v.interval),
        "p": v.p,
        "p_adjusted": v.p_adjusted,
        "p_reverse": v.p_reverse,
        "p_reverse_adjusted": v.p_reverse_adjusted,
        "grokked": v.grokked,
        "median": v.median,
    }


def check(path: str) -> None:
    """Raise `UsageError` if `path` ('-' is standard output) cannot be written, or is a store."""
    if path != "-":
        if Path(path).is_file() and Path(path).read_bytes()[:6] == b"SQLite":
            raise UsageError(f"{path} is a database; it was left as it is")
        try:
            with Path(path).open("a"):
                pass
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None


def write(path: str, verdicts: Sequence[Verdict], runs: Runs) -> None:
    """Write the document as one line of JSON."""
    write_line(path, document(verdicts, runs))


def write_line(path: str, content: object) -> None:
    """Write one line of JSON to a file at once, to a device or pipe as it is, or to standard output ('-')."""
    line = json.dumps(content, allow_nan=False) + "\n"
    target = Path(path)
    if path == "-":
        sys.stdout.write(line)
    elif target.exists() and not target.is_file():
        target.write_text(line)
    else:
        partial = target.with_name(target.name + ".partial")
        partial.write_text(line)
        partial.replace(target)
