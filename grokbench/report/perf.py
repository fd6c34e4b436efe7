"""What a race of two optimizers found, for a terminal, as JSON and for GitHub Actions."""

from __future__ import annotations

from typing import Any

import numpy as np
from rich.text import Text

from grokbench.perf import Result, Timing, card
from grokbench.report import github, layout
from grokbench.report.layout import Column, Grid, Part

COLUMNS = (
    Column("", right=False),
    Column("baseline", drop=1),
    Column("candidate", drop=1),
    Column("ratio"),
    Column("99 % interval", drop=2),
    Column("rounds of\nfour calls", drop=3),
    Column("verdict", right=False),
)
_STYLE = {"slower": "bold red", "faster": "bold green", "alike": "green", "undecided": "yellow"}


def _row(t: Timing) -> tuple[str, ...]:
    medians = (1e3 * float(np.median(times)) for times in (t.race.baseline, t.race.candidate))
    low, high = t.race.interval
    ends = f"{low:.3f}–{high:.3f}"
    return (
        t.name,
        *(f"{m:.3g} ms" for m in medians),
        f"{t.race.ratio:.3f}",
        ends,
        str(len(t.race.baseline)),
        t.verdict,
    )


def parts(result: Result) -> list[Part]:
    """What came out, the two kinds of step as a table, and what was timed where."""
    r, here = result.request, result.provenance
    there = f" from {r.candidate_path}" * bool(r.candidate_path)
    where = here.device if here.device != "cpu" else here.processor
    limits = f"flagged beyond {r.margin:.0%} and {1e6 * r.floor:g} µs a step"
    rows: list[tuple[str | Text, ...]] = []
    for *cells, verdict in map(_row, result.timings):
        rows.append((*cells, Text(verdict, _STYLE[verdict])))
    slower = [t.name for t in result.timings if t.verdict == "slower"]
    said = f"The candidate is slower: {' and '.join(slower)}." if slower else "The candidate is not shown to be slower."
    return [
        said,
        Grid(COLUMNS, rows),
        f"{r.candidate}{there} against {r.baseline}: {r.replicas} replicas of {r.preset}, {limits}",
        f"{where}, {here.threads} thread{'s' * (here.threads != 1)}, torch {here.torch}{_clocks(result)}",
    ]


def text(result: Result, width: int | None = None, *, color: bool = False) -> str:
    """The same as text; see `layout.text`."""
    return layout.text(parts(result), width, color=color)


def _clocks(result: Result) -> str:
    before, after = result.clocks
    told = [name for name in before if name == "cpu" or name.startswith("clocks.")]
    words = "".join(f"; clock {name} {before[name]}, afterwards {after.get(name, '?')}" for name in told)
    why = card.throttled(after)
    return words + f"; slowed down by: {why}" * bool(why)


def document(result: Result) -> dict[str, Any]:
    """Timings with the raw seconds a step of every call, and what they were taken on."""
    r = result.request
    return {
        "baseline": str(result.arms[0]),
        "candidate": str(result.arms[1]),
        "preset": r.preset,
        "replicas": r.replicas,
        "margin": r.margin,
        "floor": r.floor,
        "timings": [
            {
                "step": t.name,
                "verdict": t.verdict,
                "ratio": t.race.ratio,
                "interval": list(t.race.interval),
                "baseline": t.race.baseline.tolist(),
                "candidate": t.race.candidate.tolist(),
            }
            for t in result.timings
        ],
        "clocks": {"before": result.clocks[0], "after": result.clocks[1]},
        "provenance": result.provenance.as_dict(),
    }


def publish(result: Result) -> list[github.Note]:
    """A section of the step's summary; a note for what is slower."""
    title = f"grokbench perf: {result.arms[1].name}"
    github.publish(title, github.table([column.head for column in COLUMNS], [_row(t) for t in result.timings]))
    return [
        github.Note("error", title, f"{t.name} takes {t.race.ratio:.2f} times as long")
        for t in result.timings
        if t.verdict == "slower"
    ]
