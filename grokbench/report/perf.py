"""What a race of two optimizers found, for a terminal, as JSON and for GitHub Actions."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from grokbench.perf import Result, Timing
from grokbench.report import github

HEADER = ("", "baseline", "candidate", "ratio", "99 % interval", "quads", "verdict")
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


def text(result: Result, *, color: bool = False) -> str:
    """The two kinds of step as a table, and what was timed where."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(file=buffer, width=110, force_terminal=color, highlight=False, markup=False, emoji=False)
    out = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, name in enumerate(HEADER):
        out.add_column(name, justify="right" if 0 < i < len(HEADER) - 1 else "left", no_wrap=True)
    for timing in result.timings:
        *cells, verdict = _row(timing)
        out.add_row(*cells, Text(verdict, _STYLE[verdict]))
    console.print(out)
    r, here = result.request, result.provenance
    there = f" from {r.candidate_path}" * bool(r.candidate_path)
    names = f"{r.candidate}{there} against {r.baseline}"
    where = here.device if here.device != "cpu" else here.processor
    limits = f"flagged beyond {r.margin:.0%} and {1e6 * r.floor:g} µs a step"
    console.print(f"{names}: {r.replicas} replicas of {r.preset}, {limits}")
    console.print(f"{where}, {here.threads} threads, torch {here.torch}{_clocks(result)}")
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def _clocks(result: Result) -> str:
    before, after = result.clocks
    return "".join(f"; clock {name} {value}, afterwards {after.get(name, '?')}" for name, value in before.items())


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
    github.publish(title, github.table(HEADER, [_row(t) for t in result.timings]))
    return [
        github.Note("error", title, f"{t.name} takes {t.race.ratio:.2f} times as long")
        for t in result.timings
        if t.verdict == "slower"
    ]
