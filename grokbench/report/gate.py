"""What a gate found, for a terminal, as JSON and for GitHub Actions."""

from __future__ import annotations

import io
from typing import Any

from grokbench.gate import Result
from grokbench.gate.decision import KINDS, GateOutcome, Pairs
from grokbench.gate.setting import EPOCHS
from grokbench.report import export, github, terminal
from grokbench.stats import paired

_STYLE = {
    GateOutcome.PASS: "green",
    GateOutcome.IMPROVED: "bold green",
    GateOutcome.REGRESSION: "bold red",
    GateOutcome.INCONCLUSIVE: "yellow",
}
ARMS = ("baseline", "candidate")
HEADER = (
    "task",
    "softmax",
    "baseline\nmedian",
    "candidate\nmedian",
    "grokked\nof pairs",
    "time\nratio",
    "sustained\nratio",
)
_LEVEL = {GateOutcome.REGRESSION: "error", GateOutcome.INCONCLUSIVE: "warning"}


def text(result: Result, width: int, *, color: bool = False) -> str:
    """The arms, the cells as a table, and the outcome with its reason."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(
        file=buffer, width=max(width, 100), force_terminal=color, highlight=False, markup=False, emoji=False
    )
    for name, arm in zip(ARMS, _named(result), strict=True):
        console.print(f"{name:<9}  {arm}")
    if result.pairs:
        out = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for i, name in enumerate(HEADER):
            out.add_column(name, justify="left" if i < 2 else "right", no_wrap=True)
        for e in result.pairs:
            out.add_row(*_row(e))
        console.print(out)
    console.print(Text.assemble((result.outcome.value, _STYLE[result.outcome]), f": {result.reason}"))
    for line in _notes(result):
        console.print(line)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


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
        lines.append("What first acts after the end of these runs, they do not see.")
    elif result.unlike:
        count = len(result.records) // 2
        lines.append(
            f"In {result.unlike} of {count} pairs the arms were trained by unlike arithmetic, so no bits were compared."
        )
    elif result.differs:
        lines.append(f"The weights differ from epoch {result.differs} on.")
    elif result.differs is None:
        lines.append("The baseline's golden trajectory is not known.")
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
    table = github.table([name.replace("\n", " ") for name in HEADER], rows) if rows else ""
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
    """Both arms, the candidate with the source tree that it is from."""
    path = result.request.candidate_path
    return [str(result.arms[0]), str(result.arms[1]) + f" from {path}" * bool(path)]
