"""What a gate found, for a terminal, as JSON and for GitHub Actions."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from grokbench.gates import Result
from grokbench.gates.decision import KINDS, GateOutcome, Pairs
from grokbench.gates.setting import EPOCHS
from grokbench.report import export, github, layout, terminal
from grokbench.report.layout import Column, Grid, Part
from grokbench.spec import OptimizerSpec
from grokbench.stats import paired

_STYLE = {
    GateOutcome.PASS: "green",
    GateOutcome.IMPROVED: "bold green",
    GateOutcome.REGRESSION: "bold red",
    GateOutcome.INCONCLUSIVE: "yellow",
}
ARMS = ("baseline", "candidate")
COLUMNS = (
    Column("task", right=False),
    Column("softmax", right=False),
    Column("baseline\nmedian", drop=1),
    Column("candidate\nmedian", drop=1),
    Column("grokked\nof pairs", drop=2),
    Column("ratio of\nmean times"),
    Column("of mean\nsustained", drop=3),
)
_LEVEL = {GateOutcome.REGRESSION: "error", GateOutcome.INCONCLUSIVE: "warning"}


def parts(result: Result) -> list[Part]:
    """The outcome with its reason, the arms, and the cells as a table."""
    outcome = result.outcome
    found: list[Part] = [Text.assemble((outcome.value, _STYLE[outcome]), f": {result.reason}"), ""]
    found += [f"{name:<9}  {arm}" for name, arm in zip(ARMS, _named(result), strict=True)]
    if result.pairs:
        found.append(Grid(COLUMNS, [_row(e) for e in result.pairs]))
    return [*found, *_notes(result)]


def text(result: Result, width: int | None, *, color: bool = False) -> str:
    """The same as text; see `layout.text`."""
    return layout.text(parts(result), width, color=color)


def _row(e: Pairs) -> tuple[str, ...]:
    medians = [paired.median(arm.first, arm.first < e.never) for arm in (e.baseline, e.candidate)]
    ratios = [e.ratio(kind) for kind in KINDS]
    return (
        e.cell.task.name,
        e.cell.softmax,
        *("never" if m is None else f"{m:g}" for m in medians),
        f"{e.grokked[0]}, {e.grokked[1]} of {len(e)}",
        *("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
    )


def _notes(result: Result) -> list[str]:
    lines = []
    if result.identical:
        lines.append("A difference that begins only after the last epoch of these runs is not seen.")
    elif result.unlike:
        count = len(result.records) // 2
        lines.append(
            f"In {result.unlike} of {count} pairs the arms were trained by unlike arithmetic, so no bits were compared."
        )
    elif result.differs:
        lines.append(f"The weights differ from epoch {result.differs} on.")
    elif result.differs is None:
        lines.append("The weights of the baseline after each epoch (its golden trajectory) are not known here.")
    else:
        lines.append(f"The weights are equal for {EPOCHS} epochs, and differ after that.")
    if result.records and not result.identical:
        lines.append(f"A run that never grokked counts as {result.setting.budget + 1} epochs in the ratios.")
    if result.records:
        lines += terminal.notes(result.records)
    return lines


def document(result: Result) -> dict[str, Any]:
    """The outcome, what it rests on, the pairs and what produced them."""
    d = result.decision
    found: dict[str, Any] = {
        "outcome": result.outcome.value,
        "reason": result.reason,
        "baseline": str(result.arms[0]),
        "candidate": str(result.arms[1]),
        "preset": result.setting.preset.name,
        "budget": result.setting.budget,
        "device": result.setting.device,
        "cells": [str(cell) for cell in result.setting.cells],
        "margin": result.request.margin,
        "level": result.request.level,
        "identical": result.identical,
        "differs_from_epoch": result.differs,
        "pairs_of_unlike_arithmetic": result.unlike,
        "decision": d
        and {
            "pairs": d.pairs,
            "more_pairs": d.more,
            "ratio": d.ratio,
            "interval": export.finite(d.interval),
            "sustained_ratio": d.sustained_ratio,
            "grokked": list(d.grokked),
            "p": d.tests._asdict(),
        },
    }
    return found | export.runs_document(result.records)


def publish(result: Result) -> list[github.Note]:
    """A section of the step's summary; a note unless the candidate is fine."""
    rows = [_row(e) for e in result.pairs]
    table = github.table([column.head.replace("\n", " ") for column in COLUMNS], rows) if rows else ""
    r, s = result.request, result.setting
    arms = "".join(f"- {name}: `{arm}`\n" for name, arm in zip(ARMS, _named(result), strict=True))
    how = f"preset {s.preset.name}, budget {s.budget} epochs, margin {r.margin:.0%}, {s.device}"
    body = f"**{result.outcome.value}**: {result.reason}\n\n{table}\n{arms}- {how}\n" + "".join(
        f"- {line}\n" for line in _notes(result)
    )
    title = f"grokbench gate: {result.arms[1].name}"
    github.publish(title, body)
    return [github.Note(_LEVEL[result.outcome], title, result.reason)] if result.outcome in _LEVEL else []


def _named(result: Result) -> list[str]:
    """Both arms, the candidate with the source tree that it is from.

    Of one optimizer with other settings only these are shown, since twelve settings twice hide the one that counts.
    """
    baseline, candidate = result.arms
    path = result.request.candidate_path
    return [str(baseline), beside(candidate, baseline) + f" from {path}" * bool(path)]


def beside(candidate: OptimizerSpec, baseline: OptimizerSpec) -> str:
    """A candidate, or what is other about it where both have settings of the same names."""
    names = [[setting.partition("=")[0] for setting in arm.settings] for arm in (candidate, baseline)]
    other = [setting for setting in candidate.settings if setting not in baseline.settings]
    one = candidate.name == baseline.name and names[0] == names[1]
    return f"the same with {', '.join(other)}" if one and other else str(candidate)
