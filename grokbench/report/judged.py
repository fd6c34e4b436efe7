"""Anyone's runs, judged, for a terminal and as JSON."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from rich.text import Text

from grokbench.report import export, layout, terminal
from grokbench.report.layout import Column, Grid, Part
from grokbench.stats.paired import BOOTSTRAP_BLOCKS
from grokbench.verdicts.table import Judged
from grokbench.verdicts.verdict import Status, Verdict

FEW = 3  # arms that have a sentence each
NAMED = 8  # verdicts of one reason that are named
LONG = 20  # characters of an arm's name above which only what differs is shown
STYLE = {Status.SUPPORTED: "green", Status.REFUTED: "red", Status.INCONCLUSIVE: "yellow"}
ABSENT = "–"
WORDS = {"first": ("earlier", "later"), "lower": ("lower", "higher"), "higher": ("higher", "lower")}

Shown = tuple[str, Callable[[Verdict], str | Text], bool]
"""Heading, what stands there, and whether it is a name rather than a number."""


def document(judged: Judged) -> dict[str, Any]:
    """The JSON of verdicts, with what was said before them and over what p was corrected."""
    found = export.document(judged.verdicts, ())
    for v, entry in zip(judged.verdicts, found["verdicts"], strict=True):
        entry |= {"difference": v.difference, "blocks": v.blocks, "smallest_possible_p": v.least, "note": v.note}
    return {**found, "value": judged.value, "family": judged.family, "remarks": judged.remarks}


def parts(judged: Judged) -> list[Part]:
    """The answers, what to know before, the table, and why."""
    names, shared = _names(list(dict.fromkeys(label for v in judged.verdicts for label in v.arms)))
    return [
        *_answers(judged),
        "",
        *judged.remarks,
        *([f"all arms: {shared}"] if shared else []),
        "",
        _table(judged, _columns(judged, names)),
        *_reasons(judged),
    ]


def text(judged: Judged, width: int | None, *, color: bool = False) -> str:
    """The same as text; see `layout.text`."""
    return layout.text(parts(judged), width, color=color)


def _answers(judged: Judged) -> list[Part]:
    """What came out: a sentence for each arm, or how many there are of each outcome."""
    found = []
    for arm in dict.fromkeys(v.arms[1] for v in judged.verdicts):
        own = [v for v in judged.verdicts if v.arms[1] == arm]
        whole = next((v for v in own if v.cell is None), own[0])
        found.append(terminal.answer(whole, sum(v.cell is not None for v in own), WORDS[whole.question.test][1]))
    if len(found) <= FEW:
        return list(found)
    wholes = [v for v in judged.verdicts if v.cell is None] or judged.verdicts
    return [terminal.counted(f"comparisons with {judged.verdicts[0].arms[0]}", wholes)]


def _names(labels: Sequence[str]) -> tuple[dict[str, str], str]:
    """What the table calls arms: of long names only the parts in which they differ; and the parts that all have."""
    pattern = r"[(),;\s]+" if any(re.search(r"[(),;\s]", label) for label in labels) else r"[_/]+|-(?!\d)"
    parts = {label: [p for p in re.split(pattern, label) if p] for label in labels}
    everywhere = set.intersection(*map(set, parts.values()))
    short = {label: " ".join(p for p in own if p not in everywhere) or label for label, own in parts.items()}
    if max(map(len, labels)) <= LONG or not everywhere or len(set(short.values())) < len(labels):
        return {label: label for label in labels}, ""
    return short, " ".join(p for p in parts[labels[0]] if p in everywhere)


def _columns(judged: Judged, names: dict[str, str]) -> list[Shown]:
    verdicts = judged.verdicts
    baseline = verdicts[0].arms[0]
    arms = list(dict.fromkeys(v.arms[1] for v in verdicts))
    fixed = judged.target is not None
    columns: list[Shown] = []
    if len(arms) > 1:
        columns.append(("arm", lambda v: names[v.arms[1]], True))
    if len({v.cell for v in verdicts}) > 1:
        columns.append(("cell", lambda v: str(v.cell or "pooled"), True))
    if not fixed:
        columns.append((f"{names[baseline]}\nmedian", lambda v: _median(v.median[baseline]), False))
    own = names[arms[0]] if len(arms) == 1 else ""
    columns.append((f"{own}\nmedian".lstrip("\n"), lambda v: _median(v.median[v.arms[1]]), False))
    if judged.value is None:
        columns += [
            (f"reached\n{'of pairs' if verdicts[0].question.paired else 'of runs'}", _reached, False),
            ("time\nratio", lambda v: ABSENT if v.ratio is None else f"{v.ratio:.2f}", False),
            ("95 %\ninterval", _interval, False),
        ]
    else:
        columns += [
            ("pairs" if verdicts[0].question.paired and not fixed else "runs", _size, False),
            ("mean\ndifference", lambda v: ABSENT if v.difference is None else _digits(v)(v.difference), False),
            ("95 %\ninterval", _interval, False),
        ]
    columns.append(("adjusted\np", lambda v: _p(v.p_reverse_adjusted if _against(v) else v.p_adjusted), False))
    columns.append(("\nverdict", lambda v: Text(_status(v), STYLE[v.status]), True))
    return [c for c in columns if any(str(c[1](v)) != ABSENT for v in verdicts)]


def _table(judged: Judged, columns: Sequence[Shown]) -> Grid:
    baseline, candidate = judged.verdicts[0].arms
    several = len({v.arms[1] for v in judged.verdicts}) > 1
    if judged.value is None and judged.target is None:
        title = (
            f"Which arm groks earlier than {baseline}?"
            if several
            else f"Does {candidate} grok earlier than {baseline}?"
        )
    else:
        word = "earlier" if judged.value is None else judged.verdicts[0].question.test
        what = f" in {judged.value}" * (judged.value is not None)
        title = (
            f"Which arm is {word} than {baseline}{what}?"
            if several
            else f"Is {candidate} {word} than {baseline}{what}?"
        )
    several_cells = len({v.cell for v in judged.verdicts}) > 1
    rules = [
        i
        for i, (one, other) in enumerate(itertools.pairwise(judged.verdicts), 1)
        if one.arms != other.arms and several_cells
    ]
    heads = [Column(heading, right=not name, drop=_drop(heading)) for heading, _, name in columns]
    return Grid(heads, [[show(v) for _, show, _ in columns] for v in judged.verdicts], title, frozenset(rules))


def _drop(heading: str) -> int:
    """In which order columns go where there is little room."""
    return next((3 - i for i, word in enumerate(("reached", "median", "interval")) if word in heading), 0)


def _reached(v: Verdict) -> str:
    if v.question.paired:
        return f"{', '.join(str(v.grokked[label]) for label in v.arms)} of {v.pairs}"
    return ", ".join(f"{v.grokked[label]} of {v.runs[label]}" for label in v.arms)


def _size(v: Verdict) -> str:
    return str(v.pairs) if v.question.paired else ", ".join(str(v.runs[label]) for label in v.arms)


def _median(value: float | None) -> str:
    return "never" if value is None else f"{value:g}"


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.0e}"


def _digits(v: Verdict) -> Callable[[float], str]:
    """Differences with two digits of what they are uncertain by, or four of their own."""
    assert v.difference is not None
    size = abs(v.difference) / 1000
    if v.interval and 0 < v.interval[1] - v.interval[0] < math.inf:
        size = (v.interval[1] - v.interval[0]) / 20
    places = int(min(15, max(0, -math.floor(math.log10(size))))) if size else 0
    return f"{{:.{places}f}}".format


def _interval(v: Verdict) -> str:
    if v.difference is None:
        return terminal.between(v.interval)
    if v.interval is None or not all(map(math.isfinite, v.interval)):
        return ABSENT
    return " to ".join(map(_digits(v), v.interval))


def _against(v: Verdict) -> bool:
    """Whether the evidence, such as it is, speaks against the claim."""
    return v.status is Status.REFUTED or (v.status is Status.INCONCLUSIVE and v.p_reverse < v.p)


def _status(v: Verdict) -> str:
    if v.status is Status.INCONCLUSIVE:
        return str(v.status.value)
    word, other = WORDS[v.question.test]
    return f"{v.status.value}: {word if v.supported else other}"


def _reasons(judged: Judged) -> list[str]:
    """How the numbers were made, and why verdicts are not what was asked."""
    question = judged.verdicts[0].question
    several = len({v.cell for v in judged.verdicts}) > 1
    if question.sequential:
        lines = ["Verdicts and intervals by pairs are anytime-valid: they hold whenever one looks."]
    else:
        test = "sign flips" if question.paired else "permutations of the runs between the arms"
        if judged.target is not None:
            test = "sign tests" if judged.sign_test else "sign flips"
        lines = [f"Verdicts of {test} hold for one look, at a number of runs that was set beforehand."]
        if judged.sign_test:
            lines.append(
                "A sign test tells whether more than half of an arm's runs would lie on one side of the target."
            )
        elif judged.target is not None:
            lines.append(
                "Sign flips about a target take values as symmetric: as likely so far above their middle as below. "
                "Where they are skewed, such as times or a loss that may diverge, they decide too often: the sign test "
                "beside needs no symmetry, and --sign-test decides by it."
            )
    if any(_interval(v) != ABSENT for v in judged.verdicts):
        lines.append(f"Intervals: {_method(judged)}. `grokbench guide your-times` tells how often they cover.")
    late = any(v.grokked[label] < v.runs[label] for v in judged.verdicts for label in v.arms)
    if late and not question.sequential and any(v.ratio is not None for v in judged.verdicts):
        lines.append(
            "Where a run never got there, the ratio is the factor between the arms' times at which the test sees no "
            "difference, and its interval are the factors that the test does not refute"
            f"{'; fewer than 6 pairs refute none' * question.paired}."
        )
    said: dict[str, list[str]] = {}
    for v in judged.verdicts:
        if v.status is not Status.SUPPORTED or v.note:
            reason = v.reason + f"; {v.note}" * (v.note not in v.reason)
            said.setdefault(reason, []).append(v.arms[1] + f"[{v.cell or 'pooled'}]" * several)
    lines += [f"{_some(names)}: {reason}" for reason, names in said.items()]
    return lines


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + f" and {len(names) - NAMED} more" * (len(names) > NAMED)


def _method(judged: Judged) -> str:
    question = judged.verdicts[0].question
    paired = question.paired
    if question.sequential:
        return "the ratios that the same test would not refute"
    if judged.value is not None:
        if not paired:
            return "Welch's t"
        return "Student's t" if judged.target is not None else "Student's t on the differences of pairs"
    if not paired:
        return "Welch's t on log times"
    return f"a bootstrap of the pairs, or with fewer than {BOOTSTRAP_BLOCKS} Student's t on their log ratios"
