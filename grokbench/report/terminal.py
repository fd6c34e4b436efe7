"""Tables of verdicts for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from rich.text import Text

from grokbench.claims import Cell, Claim
from grokbench.records.grok import Outcome
from grokbench.records.provenance import Provenance
from grokbench.records.store import Record
from grokbench.report import layout
from grokbench.report.layout import Column, Grid, Part
from grokbench.spec import RunSpec
from grokbench.stats.paired import Interval
from grokbench.verdicts.verdict import Status, Verdict

_STYLE = {Status.SUPPORTED: "green", Status.REFUTED: "red", Status.INCONCLUSIVE: "yellow"}
LABEL = 14  # characters of an arm's name that a column's heading has room for

Runs = Sequence[tuple[RunSpec, str, Record]]


def _epochs(value: float | None) -> str:
    return "never" if value is None else f"{value:g}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.0e}"


def table(verdicts: Sequence[Verdict]) -> Grid:
    """The verdicts of one claim about times, cell by cell."""
    baseline, candidate = verdicts[0].arms
    protocol = verdicts[0].question.protocol
    heads = (baseline, candidate) if max(map(len, verdicts[0].arms)) <= LABEL else ("baseline", "candidate")
    columns = (
        Column("task", right=False),
        Column("softmax", right=False),
        *(Column(f"{head}\nmedian", drop=4) for head in heads),
        Column("grokked\nof pairs", drop=3),
        Column("time\nratio"),
        Column("95 %\ninterval", drop=1),
        Column("sustained\nratio", drop=5),
        Column("adjusted\np", drop=2),
        Column("\nverdict", right=False),
    )
    rows: list[tuple[str | Text, ...]] = [
        (
            *_place(v),
            *(_epochs(v.median[label]).rjust(6) for label in v.arms),
            _grokked(v),
            _ratio(v.ratio),
            between(v.interval),
            _ratio(v.sustained) + "!" * v.inverted,
            _p(v.p_reverse_adjusted if _against(v) else v.p_adjusted),
            Text(_status(v), _STYLE[v.status]),
        )
        for v in verdicts
    ]
    title = f"Does {candidate} grok earlier than {baseline}?" + f" ({protocol})" * (protocol != "published")
    return Grid(columns, rows, title, frozenset(i for i, v in enumerate(verdicts) if v.cell is None))


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


def claims(verdicts: Sequence[Verdict]) -> Grid:
    """Verdicts of many claims, a row each."""
    columns = (
        Column("claim", right=False, wrap=True),
        Column("pairs", drop=2),
        Column("adjusted\np", drop=1),
        Column("\nverdict", right=False),
    )
    rows = [
        (
            f"{v.claim}: {v.question.statement}",
            str(v.pairs or "–"),
            _p(v.p_reverse_adjusted if _against(v) else v.p_adjusted) if v.pairs else "–",
            Text(v.status.value, _STYLE[v.status]),
        )
        for v in verdicts
    ]
    return Grid(columns, rows, "Other claims")


def protocols(verdicts: Sequence[Verdict]) -> Grid:
    """One comparison under several protocols: time ratio and verdict in each."""
    names = list(dict.fromkeys(v.question.protocol for v in verdicts))
    baseline, candidate = verdicts[0].arms
    places = list(dict.fromkeys(map(_place, verdicts)))
    found = {(_place(v), v.question.protocol): v for v in verdicts}
    shown = {
        key: Text(f"{_ratio(v.ratio)} {v.status.value}" + "~" * v.fragile, _STYLE[v.status]) for key, v in found.items()
    }
    return Grid(
        [Column(name, right=False) for name in ("task", "softmax", *names)],
        [(*place, *(shown.get((place, name), "–") for name in names)) for place in places],
        f"{candidate} against {baseline}: time ratio and verdict by protocol",
        frozenset(i for i, place in enumerate(places) if place[0] == "pooled"),
    )


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
    how = "stacked" if origin.compiler == "torch.func.vmap" else "compiled"
    known = [origin.arithmetic, origin.arithmetic is not None and origin.compiler and f"{how} by {origin.compiler}"]
    return "".join(f", {part}" for part in known if part)


def _remarks(verdicts: Sequence[Verdict]) -> list[str]:
    """What a reader has to know of the verdicts."""
    lines = []
    if any(v.question.sequential for v in verdicts):
        lines.append(
            "The test may look at every new pair, and its intervals hold whenever one looks. So the training of a cell "
            "stopped when its evidence was enough, or could no longer become enough."
        )
    if (together := max((v.question.comparisons for v in verdicts), default=1)) > 1:
        lines.append(
            f"{together} comparisons are decided together: each p is multiplied by {together}, so that any of them is "
            "falsely supported, or falsely refuted, no more often than one alone would be."
        )
    if any(v.tabled and v.question.paired and not v.question.sequential for v in verdicts):
        lines.append(
            "The test looks once, when all pairs are there: adding pairs to a result that is known makes p too small."
        )
    for claim in dict.fromkeys(v.claim for v in verdicts if v.tabled):
        shown = [v for v in verdicts if v.claim == claim]
        cells = sum(v.cell is not None for v in shown)
        corrected, pools = (
            max((v.cells for v in shown if (v.cell is None) is pooled), default=1) for pooled in (False, True)
        )
        if corrected > cells:
            pool = f", and that of the pool over {pools} choices of tasks and softmaxes" * (pools > corrected)
            lines.append(
                f"{claim}: p is corrected over the {corrected} cells that could have been asked, not only over the "
                f"{cells} here{pool}. If you chose before you saw any data, --family selected corrects over these "
                "alone."
            )
    if any(v.fragile for v in verdicts):
        lines.append(
            "~ half of the budget, or sustained grok times, would not give this verdict; --json has the figures."
        )
    if any(v.inverted for v in verdicts):
        lines.append("! The first crossings say one arm is earlier, the sustained grok times the other.")
    for v in verdicts:
        tabled = v.tabled
        if v.status is not Status.SUPPORTED or v.inverted or v.unlike or not tabled:
            lines.append(f"{v.id}: {v.reason}" + f" ({v.question.scope})" * bool(v.question.scope and not tabled))
    return lines


def answers(verdicts: Sequence[Verdict]) -> list[Part]:
    """What came out, a sentence or two for each comparison."""
    lines: list[Part] = []
    for claim in dict.fromkeys(v.claim for v in verdicts if v.tabled):
        shown = [v for v in verdicts if v.claim == claim]
        cells = [v for v in shown if v.cell is not None]
        whole = next((v for v in shown if v.cell is None), None) or (cells[0] if len(cells) == 1 else None)
        line = answer(whole, len(cells)) if whole else Text()
        if len(cells) > 1:
            line.append(" " * bool(whole) + counted("cells", cells))
        lines.append(line)
    if others := [v for v in verdicts if not v.tabled]:
        lines.append(counted("other " * bool(lines) + f"claim{'s' * (len(others) != 1)}", others))
    return lines


def answer(v: Verdict, cells: int, reverse: str = "later") -> Text:
    """What came out of a comparison of runs in so many cells, in a sentence. reverse: what a refuted one is instead."""
    baseline, candidate = v.arms
    under = f" under the protocol {v.question.protocol}" * (v.question.protocol != "published")
    number, what = (v.pairs, "pair") if v.question.paired else (sum(v.runs.values()), "run")
    count = f"{number} {what}{'s' * (number != 1)}" + " of runs" * v.question.paired
    verb = "does" if number == 1 else "do"
    where = f" in {cells} cells" * (cells > 1 and v.cell is None)
    if v.status is Status.INCONCLUSIVE:
        said = f"Not decided: {count}{where} {verb} not show whether {v.question.statement}{under}."
    else:
        said = (
            f"Yes: {v.question.statement}"
            if v.supported
            else f"No, the reverse: {candidate} is {reverse} than {baseline}"
        )
        said += under
        said += _size(v)
        said += f", by {count}{where}."
    word, colon, rest = said.partition(":")
    return Text.assemble((word + colon, f"bold {_STYLE[v.status]}"), rest)


def _size(v: Verdict) -> str:
    """How large the effect is, as far as that is known and fits the verdict."""
    if not v.endpoint.timed:
        return ""
    unit = "epochs" if isinstance(v.question, Claim) else "time"
    low, high = v.interval or (0.0, math.inf)
    if v.ratio is not None and (v.ratio < 1) == v.supported:
        known = between(v.interval)
        return f", at {_ratio(v.ratio)} times the {unit}" + f" (95 % interval {known})" * (known != "–")
    if v.ratio is None and v.supported and high < 1:
        return f", at less than {high:.2f} times the {unit}"
    if v.ratio is None and not v.supported and low > 1:
        return f", at more than {low:.2f} times the {unit}"
    return ""


def counted(what: str, verdicts: Sequence[Verdict]) -> str:
    """How many there are of each status."""
    counts = {status: sum(v.status is status for v in verdicts) for status in Status}
    words = [f"{n} {'is' if n == 1 else 'are'} {status.value}" for status, n in counts.items() if n]
    listed = " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return f"Of {len(verdicts)} {what}, {listed}."


def grids(verdicts: Sequence[Verdict]) -> list[Grid]:
    """The tables of all claims."""
    tabled = [v for v in verdicts if v.tabled]
    found = [table([v for v in tabled if v.claim == claim]) for claim in dict.fromkeys(v.claim for v in tabled)]
    for arms in dict.fromkeys(v.arms for v in tabled):
        mine = [v for v in tabled if v.arms == arms]
        if len({v.question.protocol for v in mine}) > 1:
            found.append(protocols(mine))
    others = [v for v in verdicts if not v.tabled]
    return found + [claims(others)] * bool(others)


def parts(verdicts: Sequence[Verdict], runs: Runs) -> list[Part]:
    """The answers, the tables, and what a reader has to know of them."""
    return [*answers(verdicts), "", *grids(verdicts), *(notes(runs) if runs else []), *_remarks(verdicts)]


def tables(verdicts: Sequence[Verdict], width: int | None, *, color: bool = False) -> str:
    """The tables alone, as text."""
    return layout.text(grids(verdicts), width, color=color)


def text(verdicts: Sequence[Verdict], runs: Runs, width: int | None, *, color: bool = False) -> str:
    """All of it as text; see `layout.text`."""
    return layout.text(parts(verdicts, runs), width, color=color)
