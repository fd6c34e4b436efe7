"""Tables of verdicts for a terminal."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from grokbench.claims import Cell
from grokbench.records.grok import Outcome
from grokbench.records.provenance import Provenance
from grokbench.records.store import Record
from grokbench.spec import RunSpec
from grokbench.stats.paired import Interval
from grokbench.verdicts.verdict import Status, Verdict

_STYLE = {Status.SUPPORTED: "green", Status.REFUTED: "red", Status.INCONCLUSIVE: "yellow"}
WIDTH = 112  # of the widest table

Runs = Sequence[tuple[RunSpec, str, Record]]


def _epochs(value: float | None) -> str:
    return "never" if value is None else f"{value:g}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.0e}"


def table(verdicts: Sequence[Verdict]) -> Table:
    """The verdicts of one claim about times, cell by cell."""
    baseline, candidate = verdicts[0].arms
    protocol = verdicts[0].question.protocol
    out = _table(f"Does {candidate} grok earlier than {baseline}?" + f" ({protocol})" * (protocol != "published"))
    out.add_column("task", no_wrap=True)
    out.add_column("softmax", no_wrap=True)
    for label in (baseline, candidate):
        out.add_column(f"{label}\nmedian", justify="right", overflow="fold", min_width=6)
    out.add_column("grokked\nof pairs", justify="right", no_wrap=True)
    out.add_column("time\nratio", justify="right", no_wrap=True)
    out.add_column("95 %\ninterval", justify="right", no_wrap=True)
    out.add_column("sustained\nratio", justify="right", no_wrap=True)
    out.add_column("adjusted\np", justify="right", no_wrap=True)
    out.add_column("\nverdict", no_wrap=True)
    for v in verdicts:
        if v.cell is None:
            out.add_section()
        out.add_row(
            *_place(v),
            _epochs(v.median[baseline]),
            _epochs(v.median[candidate]),
            _grokked(v),
            _ratio(v.ratio),
            between(v.interval),
            _ratio(v.sustained) + "!" * v.inverted,
            _p(v.p_reverse_adjusted if _against(v) else v.p_adjusted),
            Text(_status(v), _STYLE[v.status]),
        )
    return out


def _table(title: str) -> Table:
    return Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))


def _grokked(v: Verdict) -> str:
    first, second = v.grokked.values()
    if v.question.paired:
        return f"{first}, {second} of {v.pairs}"
    return ", ".join(f"{v.grokked[label]} of {v.runs[label]}" for label in v.arms)


def _place(v: Verdict) -> tuple[str, str]:
    if isinstance(v.cell, Cell):
        return v.cell.task.name, v.cell.softmax
    return v.cell or "pooled", ""


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def between(ends: Interval | None) -> str:
    """An interval for a reader; it may have one end only."""
    low, high = ends or (0.0, math.inf)
    if math.isfinite(high):
        return f"{low:.2f}–{high:.2f}" if low else f"< {high:.2f}"
    return f"> {low:.2f}" if low else "–"


def _status(v: Verdict) -> str:
    if v.status is Status.INCONCLUSIVE or not v.endpoint.timed or v.question.margin != 1:
        return v.status.value
    return f"{v.status.value}: {'later' if _against(v) else 'earlier'}" + "~" * v.fragile


def claims(verdicts: Sequence[Verdict]) -> Table:
    """Verdicts of many claims, a row each."""
    out = _table("Other claims")
    out.add_column("claim", overflow="fold")
    out.add_column("pairs", justify="right", no_wrap=True)
    out.add_column("adjusted\np", justify="right", no_wrap=True)
    out.add_column("\nverdict", no_wrap=True)
    for v in verdicts:
        p = _p(v.p_reverse_adjusted if _against(v) else v.p_adjusted) if v.pairs else "–"
        row = f"{v.claim}: {v.question.statement}", str(v.pairs or "–"), p
        out.add_row(*row, Text(v.status.value, _STYLE[v.status]))
    return out


def protocols(verdicts: Sequence[Verdict]) -> Table:
    """One comparison under several protocols: time ratio and verdict in each."""
    names = list(dict.fromkeys(v.question.protocol for v in verdicts))
    baseline, candidate = verdicts[0].arms
    out = _table(f"{candidate} against {baseline}: time ratio and verdict by protocol")
    for name in ("task", "softmax", *names):
        out.add_column(name, no_wrap=True)
    for place in dict.fromkeys(map(_place, verdicts)):
        if place[0] == "pooled":
            out.add_section()
        found = {v.question.protocol: v for v in verdicts if _place(v) == place}
        shown = [
            Text(f"{_ratio(v.ratio)} {v.status.value}" + "~" * v.fragile, _STYLE[v.status])
            if (v := found.get(name))
            else Text("–")
            for name in names
        ]
        out.add_row(*place, *shown)
    return out


def _against(v: Verdict) -> bool:
    """Whether the evidence, such as it is, speaks against the claim."""
    return v.status is Status.REFUTED or (v.status is Status.INCONCLUSIVE and v.p_reverse < v.p)


def notes(runs: Runs) -> list[str]:
    """What a reader has to know of the runs behind the tables."""
    counts = {outcome: sum(record.time.outcome is outcome for _, _, record in runs) for outcome in Outcome}
    lines = [f"{len(runs)} runs: " + ", ".join(f"{n} {outcome.value}" for outcome, n in counts.items())]
    origins = list(dict.fromkeys(record.provenance for _, _, record in runs))
    for origin in origins:
        commit = (origin.commit or "no commit")[:10] + (", changed" if origin.dirty else "")
        lines.append(
            f"trained by grokbench {origin.grokbench} ({commit}), torch {origin.torch}, "
            f"{origin.device}{_arithmetic(origin)}, {origin.threads} thread{'s' * (origin.threads != 1)}"
        )
    if len({replace(origin, compiler=None) for origin in origins}) > 1:
        lines.append("The records come from different machines or versions; arms may differ in more than is compared.")
    return lines


def _arithmetic(origin: Provenance) -> str:
    known = [origin.arithmetic, origin.arithmetic is not None and origin.compiler and f"compiled by {origin.compiler}"]
    return "".join(f", {part}" for part in known if part)


def _remarks(verdicts: Sequence[Verdict]) -> list[str]:
    """What a reader has to know of the verdicts."""
    lines = []
    if any(v.question.sequential for v in verdicts):
        lines.append(
            "Verdicts by pairs and their intervals hold whenever one looks, so a cell stopped training where its "
            "evidence sufficed, or could no longer suffice."
        )
    if (together := max((v.question.comparisons for v in verdicts), default=1)) > 1:
        lines.append(
            f"{together} comparisons are decided together: each p is multiplied by {together}, so that any of them is "
            "falsely supported, or falsely refuted, no more often than one alone would be."
        )
    if any(v.tabled and v.question.paired and not v.question.sequential for v in verdicts):
        lines.append("Verdicts of sign flips hold for one look, at a number of pairs that was set beforehand.")
    for claim in dict.fromkeys(v.claim for v in verdicts if v.tabled):
        shown = [v for v in verdicts if v.claim == claim]
        corrected, cells = max(v.cells for v in shown), sum(v.cell is not None for v in shown)
        if corrected > cells:
            lines.append(
                f"{claim}: p is corrected over the {corrected} cells that could have been asked, not only over the "
                f"{cells} here; --family selected corrects over these alone, for a choice before any data were seen"
            )
    if any(v.fragile for v in verdicts):
        lines.append(
            "~ half of the budget, or sustained grok times, would not give this verdict; --json has the figures."
        )
    if any(v.inverted for v in verdicts):
        lines.append("! first crossings and sustained grok times point in different directions.")
    for v in verdicts:
        tabled = v.tabled
        if v.status is not Status.SUPPORTED or v.inverted or v.unlike or not tabled:
            lines.append(f"{v.id}: {v.reason}" + f" ({v.question.scope})" * bool(v.question.scope and not tabled))
    return lines


def tables(verdicts: Sequence[Verdict], width: int, *, color: bool = False) -> str:
    """The tables of all claims, in `width` columns but at least 112."""
    buffer = io.StringIO()
    console = Console(
        file=buffer, width=max(width, WIDTH), force_terminal=color, highlight=False, markup=False, emoji=False
    )
    tabled = [v for v in verdicts if v.tabled]
    for claim in dict.fromkeys(v.claim for v in tabled):
        console.print(table([v for v in tabled if v.claim == claim]))
    for arms in dict.fromkeys(v.arms for v in tabled):
        mine = [v for v in tabled if v.arms == arms]
        if len({v.question.protocol for v in mine}) > 1:
            console.print(protocols(mine))
    if others := [v for v in verdicts if not v.tabled]:
        console.print(claims(others))
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def text(verdicts: Sequence[Verdict], runs: Runs, width: int, *, color: bool = False) -> str:
    """The tables, and below them the notes, a line each."""
    lines = [*(notes(runs) if runs else []), *_remarks(verdicts)]
    return tables(verdicts, width, color=color) + "".join(f"{line}\n" for line in lines)
