"""Verdicts, runs and provenance as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from grokbench.claims import Cell
from grokbench.records import files
from grokbench.records.provenance import Provenance
from grokbench.report.terminal import Runs
from grokbench.stats.paired import Interval
from grokbench.verdicts.verdict import Verdict


def document(verdicts: Sequence[Verdict], runs: Runs) -> dict[str, Any]:
    """{"verdicts": [...], "runs": [...], "provenance": [...]}."""
    return {"verdicts": [_verdict(v) for v in verdicts], **runs_document(runs)}


def runs_document(runs: Runs) -> dict[str, Any]:
    """{"runs": [...], "provenance": [...]}; a run names its provenance by position."""
    origins: list[Provenance] = list(dict.fromkeys(record.provenance for _, _, record in runs))
    return {
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
                "diagnostics": [{k: _number(x) for k, x in vars(d).items()} for d in record.diagnostics],
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
        "statement": v.question.statement,
        "source": v.question.source,
        "scope": v.question.scope,
        "test": v.question.test,
        "margin": v.question.margin,
        "protocol": v.question.protocol,
        "asserted": v.question.asserted,
        "anytime_valid": v.question.sequential,
        "cell": {"task": v.cell.task.name, "softmax": v.cell.softmax} if isinstance(v.cell, Cell) else v.cell,
        "arms": list(v.arms),
        "status": v.status.value,
        "reason": v.reason,
        "pairs": v.pairs,
        "pairs_of_unlike_arithmetic": v.unlike,
        "ratio": v.ratio,
        "interval": finite(v.interval),
        "p": v.p,
        "p_adjusted": v.p_adjusted,
        "corrected_over": v.cells,
        "comparisons": v.question.comparisons,
        "p_reverse": v.p_reverse,
        "p_reverse_adjusted": v.p_reverse_adjusted,
        "logrank": v.logrank,
        "grokked": v.grokked,
        "median": v.median,
        "rate_difference": v.rate,
        "rate_interval": finite(v.rate_interval),
        "sustained_ratio": v.sustained,
        "inverted": v.inverted,
        "stands_from_budget": v.robust and v.robust.budget,
        "stands_for_sustained": v.robust and v.robust.sustained,
        "more_pairs": v.more,
        "settings": dict(zip(v.arms, v.settings, strict=False)),
    }


def _number(value: float) -> float | None:
    """JSON has neither infinity nor NaN."""
    return value if math.isfinite(value) else None


def finite(interval: Interval | None) -> list[float | None] | None:
    """The ends of an interval, as JSON can have them."""
    return None if interval is None else [_number(end) for end in interval]


def write(path: str, verdicts: Sequence[Verdict], runs: Runs) -> None:
    """Write the document as one line of JSON."""
    files.write_line(path, document(verdicts, runs))
