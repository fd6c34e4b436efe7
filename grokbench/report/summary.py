"""Results as step summaries and annotations of GitHub Actions; see `github`."""

from __future__ import annotations

from collections.abc import Sequence

from grokbench.report import github
from grokbench.report.github import Note
from grokbench.report.terminal import between
from grokbench.verdicts.verdict import Status, Verdict

FINDING = ("optimizer", "check", "outcome", "text")


def verdicts(found: Sequence[Verdict], *, strict: bool) -> list[Note]:
    """A row for each verdict in the step's summary; notes on asserted claims that are refuted, or undecided."""
    rows = [(v.claim, str(v.cell or "pooled"), _ratio(v), str(v.pairs), v.status.value, v.reason) for v in found]
    levels = {Status.REFUTED: "error", Status.INCONCLUSIVE: "error" if strict else "warning"}
    notes = [Note(levels[v.status], v.id, v.reason) for v in found if v.question.asserted and v.status in levels]
    header = ("claim", "cell", "time ratio", "pairs", "verdict", "why")
    github.publish("grokbench: claims", github.table(header, rows))
    return notes


def _ratio(v: Verdict) -> str:
    shown = "–" if v.ratio is None else f"{v.ratio:.2f}"
    return shown + (f" ({between(v.interval)})" if v.interval else "")


def findings(found: Sequence[Sequence[str]], kind: str = FINDING[0]) -> list[Note]:
    """Rows of `FINDING` in the step's summary; notes on what breaks. kind: what was checked, if no optimizers."""
    notes = [Note("error", name, f"{check}: {text}") for name, check, outcome, text in found if outcome == "breaks"]
    github.publish("grokbench: conformance", github.table((kind, *FINDING[1:]), found))
    return notes
