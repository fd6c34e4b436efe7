"""Verdicts on anyone's runs: grok times, or a quantity such as the loss at the end. Torch-free.

`judge` takes what `reading.read` takes, so a path, an open file, a DataFrame or rows.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from grokbench.claims import Comparison
from grokbench.spec import UsageError, choose
from grokbench.stats import permutation
from grokbench.verdicts import evaluations, remarks
from grokbench.verdicts.endpoints import ENDPOINTS
from grokbench.verdicts.pairs import Evidence, Sample, evaluated_alike, sums
from grokbench.verdicts.reading import LEAST, Row, Source, arms_of, read, short
from grokbench.verdicts.verdict import Verdict, correct, figures

FAMILIES = ("file", "selected")
BLOCKS = ("replica", "cell")


class Judged(NamedTuple):
    """Verdicts, for each arm in its cells and, if there are several, over all of them; and what to know before.

    value: the column that was judged, None for times. target: the number that arms were compared with, if they were.
    family: over what p is corrected, see `judge`. sign_test: whether p is that of a sign test.
    """

    verdicts: list[Verdict]
    remarks: list[str]
    value: str | None
    target: float | None
    family: str
    sign_test: bool = False


def judge(
    source: Source,
    baseline: str | None = None,
    *,
    budget: float | str | None = None,
    every: float | None = None,
    value: str | None = None,
    better: Literal["lower", "higher"] | None = None,
    target: float | None = None,
    paired: bool = True,
    sequential: bool = False,
    family: str = FAMILIES[0],
    blocks: str = BLOCKS[0],
    sign_test: bool = False,
) -> Judged:
    """Judge every arm of a table against its baseline (the first, if None), or each against a fixed number.

    budget: cut all runs at this time; 'least', by cell at the earliest stop of one of its runs. every: round
    times up to multiples of this, as if all arms had been evaluated so often. value: a column to judge instead of
    times, better: which side is for an arm. target: the number that arms are compared with, instead of a baseline.
    sign_test: count only which runs lie on which side of the target. paired: replicas of one number are pairs.
    sequential: pairs came in one by one, in the order of `order_of`. family: 'file' corrects
    over all arms and cells, 'selected' over the cells of each arm, for arms chosen before any data were seen. blocks:
    'replica' takes replicas of one number in several cells as one independent block, 'cell' as one in each.

    Raises `UsageError` for what cannot be read or compared.
    """
    choose("family", family, FAMILIES)
    choose("blocks", blocks, BLOCKS)
    if (value is None) != (better is None):
        raise UsageError(
            f"is a lower or a higher {value} better? --lower or --higher says it"
            if value is not None
            else f"{better} of what? --value NAME says it"
        )
    if sequential and not paired:
        raise UsageError("anytime-valid verdicts are taken pair by pair: leave out --unpaired or --early-stop")
    if sequential and value is not None:
        raise UsageError("anytime-valid verdicts are of times: leave out --early-stop or --value")
    if target is not None:
        if baseline is not None or not paired:
            raise UsageError("a target takes the place of a baseline: leave out --target, or --baseline and --unpaired")
        if value is None and not target > 0:
            raise UsageError(f"the target must be a time above 0, not {target:g}")
    elif sign_test:
        raise UsageError("a sign test is about a target: --target X says it")
    rows = read(source, budget, value, every=every, paired=paired and target is None)
    if target is not None:
        rows = [*_constant(rows, target), *rows]
        baseline = rows[0].arm
    first = _baseline(rows, baseline)
    asked = _asked(rows, first, better or "first", value, target, paired, sequential, blocks)
    verdicts = _verdicts(asked, family, target, sign_test)
    said = remarks.first_lines(rows, verdicts, first, value=value, family=family, blocks=blocks, target=target)
    return Judged(verdicts, said, value, target, family, sign_test)


def evidence_of(
    source: Source, baseline: str | None = None, budget: float | str | None = None, *, paired: bool = True
) -> list[tuple[Comparison, list[Evidence]]]:
    """What `judge` looks at: for each arm against the baseline, the runs in each cell."""
    rows = read(source, budget, paired=paired)
    return _asked(rows, _baseline(rows, baseline), "first", None, None, paired, False, BLOCKS[0])


def _asked(
    rows: Sequence[Row],
    first: str,
    test: str,
    value: str | None,
    target: float | None,
    paired: bool,
    sequential: bool,
    blocks: str,
) -> list[tuple[Comparison, list[Evidence]]]:
    """Each arm's question with its evidence; see `judge`."""
    places = {replica: i for i, replica in enumerate(order_of(rows) if sequential else _numbered(rows))}
    table: dict[tuple[str, str], dict[str, Row]] = {}
    for row in rows:
        own = table.setdefault((row.cell, row.arm), {})
        if row.replica in own:
            where = f"replica {row.replica} of {row.arm} in {row.cell}"
            raise UsageError(f"line {row.line}: {where} is there already, in line {own[row.replica].line}")
        own[row.replica] = row
    never = _never(rows, value)
    asked: list[tuple[Comparison, list[Evidence]]] = []
    for arm in arms_of(rows):
        if arm == first:
            continue
        if target is not None:  # of each arm its own replicas
            _fit_constant(table, first, arm)
        found = _cells(table, (first, arm), never, places, test, paired, blocks)
        word = "earlier" if value is None else test
        question = Comparison(
            f"{arm}-{'before' if value is None else f'{test}-than'}-{first}",
            f"{arm} is {word} than {first}",
            "",
            (first, arm),
            test=test,
            sequential=sequential,
            paired=paired,
            asserted=True,
            unit="pair" if target is None else "run",
        )
        asked.append((question, found))
    return asked


def _baseline(rows: Sequence[Row], baseline: str | None) -> str:
    arms = arms_of(rows)
    if len(arms) < 2:
        raise UsageError(f"a comparison needs two arms, not only {short(arms[0])}; --target T compares with a number")
    if baseline is not None and baseline not in arms:
        near = difflib.get_close_matches(baseline, arms, 1, 0.5)
        meant = f"; is {short(near[0])} meant?" if near else ""
        raise UsageError(f"unknown arm {short(baseline)}: choose from {', '.join(map(short, arms))}{meant}")
    return baseline or arms[0]


def _constant(rows: Sequence[Row], target: float) -> list[Row]:
    """A row of the target in every cell, as if it were an arm."""
    label = f"{target:g}"
    if any(row.arm == label for row in rows):
        raise UsageError(f"an arm is called {short(label)}, as the target: rename it")
    return [Row(0, cell, label, "", target, True, target) for cell in dict.fromkeys(row.cell for row in rows)]


def _fit_constant(table: dict[tuple[str, str], dict[str, Row]], first: str, arm: str) -> None:
    """Let the target stand beside each replica of an arm."""
    for (cell, name), own in table.items():
        if name == arm:
            row = next(iter(table[cell, first].values()))
            table[cell, first] = dict.fromkeys(own, row)


def _verdicts(
    asked: Sequence[tuple[Comparison, list[Evidence]]], family: str, target: float | None, sign_test: bool
) -> list[Verdict]:
    """Decided verdicts: cells are one family, and so are pools."""

    def numbers(question: Comparison, cells: tuple[Evidence, ...]) -> Verdict:
        found = figures(question, cells)
        return found if target is None else _about(found, cells, target, sign_test)

    cells = [[replace(numbers(q, (e,)), cell=e.cell) for e in found] for q, found in asked]
    pools = [[numbers(q, tuple(found))] if len(found) > 1 else [] for q, found in asked]
    tested = [(q, [_signed(e) for e in found] if sign_test else found) for q, found in asked]
    groups = [range(len(asked))] if family == "file" else [[i] for i in range(len(asked))]
    for group in groups:
        own = [v for i in group for v in cells[i]]
        decided = iter(correct(own, [(e,) for i in group for e in tested[i][1]], len(own)))
        over = [v for i in group for v in pools[i]]
        together = iter(correct(over, [tested[i][1] for i in group for _ in pools[i]], len(over)))
        for i in group:
            cells[i] = [next(decided) for _ in cells[i]]
            pools[i] = [next(together) for _ in pools[i]]
    return [v for own, over in zip(cells, pools, strict=True) for v in (*own, *over)]


def _signed(e: Evidence) -> Evidence:
    return replace(e, differences=np.sign(e.differences))


def _about(v: Verdict, cells: Sequence[Evidence], target: float, sign_test: bool) -> Verdict:
    """The verdict with what else tests the blocks of an arm against a number: their signs alone, and Student's t."""
    blocks = np.concatenate(sums(cells, lambda e: e.differences))
    p, p_reverse = permutation.sign_test(blocks)
    word = "earlier" if v.question.test == "first" else v.question.test
    notes = [f"{int((blocks < 0).sum())} of {len(blocks)} are {word} than {target:g}"]
    if not sign_test:
        notes[0] += f", by the sign test p {min(p, p_reverse):.2g}"
        if min(v.p, v.p_reverse) <= v.level < min(p, p_reverse):
            notes.append("so it rests on symmetry: a median on the other side is possible")
    if len(blocks) > 1 and np.ptp(blocks):
        found = stats.ttest_1samp(blocks, 0, alternative="less")
        notes.append(
            f"Student's t {found.statistic:.2f} with {len(blocks) - 1} degrees of freedom, p {found.pvalue:.2g}"
        )
    v = replace(v, note="; ".join(notes))
    return replace(v, p=p, p_reverse=p_reverse) if sign_test else v


def _cells(
    table: dict[tuple[str, str], dict[str, Row]],
    arms: tuple[str, str],
    never: dict[str, float],
    places: dict[str, int],
    test: str,
    paired: bool,
    blocks: str,
) -> list[Evidence]:
    """The evidence in every cell that has both arms."""
    both = {
        cell: (table[cell, arms[0]], table[cell, arms[1]])
        for cell in never
        if (cell, arms[0]) in table and (cell, arms[1]) in table
    }
    if not both:
        raise UsageError(f"the arms {arms[0]} and {arms[1]} have no cell in common")
    together = _blocks(both) if blocks == "replica" and paired else {}
    return [
        _evidence(cell, *both[cell], never[cell], arms, places, test, paired, together.get(cell, cell)) for cell in both
    ]


def _blocks(both: dict[str, tuple[dict[str, Row], dict[str, Row]]]) -> dict[str, str]:
    """Cells that share a replica, directly or through others, by one cell of each such group."""
    group: dict[str, str] = {}
    members: dict[str, list[str]] = {}
    seen: dict[str, str] = {}  # by replica, a cell that has it
    for cell, (own, _) in both.items():
        group[cell], members[cell] = cell, [cell]
        for replica in own:
            one, other = group[cell], group[seen.setdefault(replica, cell)]
            if one != other:
                members[other] += members[one]
                group.update(dict.fromkeys(members.pop(one), other))
    return group


def _never(rows: Iterable[Row], value: str | None) -> dict[str, float]:
    """By cell, a time just later than all: that of a run that was not reached, as `Sample` has it."""
    if value is not None:
        return dict.fromkeys((row.cell for row in rows), np.inf)
    ends: dict[str, Row] = {}
    for row in rows:
        if not row.event:
            known = ends.setdefault(row.cell, row)
            if known.time != row.time:
                raise UsageError(
                    f"line {row.line}: {row.cell} is censored at {row.time:g} here and at {known.time:g} in line "
                    f"{known.line}; runs of a cell need one budget: --budget {LEAST} cuts them at the earliest"
                )
    latest: dict[str, float] = {}
    for row in rows:
        end = row.time
        if row.before is not None and row.cell not in ends:  # an arm that is evaluated so seldom may be later by that
            end += row.time - row.before
        if row.event and row.cell in ends and row.time > ends[row.cell].time:
            if not row.line:
                raise UsageError(f"the target {row.time:g} is later than the censoring time of {row.cell}")
            raise UsageError(
                f"line {row.line}: time {row.time:g} is later than the censoring time {ends[row.cell].time:g} of "
                f"{row.cell} in line {ends[row.cell].line}; --budget {LEAST} cuts all runs of a cell there"
            )
        latest[row.cell] = max(latest.get(row.cell, 0.0), end)
    return {cell: time * (1 + 1e-6) for cell, time in latest.items()}


def order_of(rows: Sequence[Row]) -> list[str]:
    """Replicas in the order in which they came: that of the column `order` (of several runs, of the first), or that of
    their first rows. A later one changes nothing of those before it, whatever it is called.
    """
    came: dict[str, float] = {}
    for i, row in enumerate(rows):
        place = i if row.order is None else row.order
        came[row.replica] = min(place, came.get(row.replica, math.inf))
    return sorted(came, key=came.__getitem__)


def _numbered(rows: Sequence[Row]) -> list[str]:
    """Replicas in the order of their numbers, those that are none last."""

    def key(replica: str) -> tuple[bool, int, str]:
        number = int(replica) if replica.isdecimal() and len(replica) < 19 else None
        return number is None, number or 0, replica

    return sorted({row.replica for row in rows}, key=key)


def _evidence(
    cell: str,
    baseline: dict[str, Row],
    candidate: dict[str, Row],
    never: float,
    arms: tuple[str, str],
    places: dict[str, int],
    test: str,
    paired: bool,
    block: str,
) -> Evidence:
    """places: of all replicas, in order; those of one number share their stream where their block is one."""
    if paired:
        for one, other, arm in ((baseline, candidate, arms[1]), (candidate, baseline, arms[0])):
            for replica, row in one.items():
                if replica not in other:
                    raise UsageError(
                        f"line {row.line}: replica {replica} of {row.arm} in {row.cell} has no partner of {arm}; "
                        "--unpaired compares without pairs"
                    )
    told = any(row.before is not None for row in (*baseline.values(), *candidate.values()))

    def sample(own: dict[str, Row]) -> Sample:
        ordered = [own[replica] for replica in sorted(own, key=places.__getitem__)]
        times = np.array([r.time if r.event else never for r in ordered], dtype=float)
        seen = evaluations.seen(ordered, never, paired=paired) if told else None
        return Sample(times, np.full(len(times), np.nan), times, seen)

    b, c = sample(baseline), sample(candidate)
    if b.seen and c.seen and not paired:
        dealt = evaluations.dealt(b.seen, c.seen, never)
        b, c = (replace(own, value=value) for own, value in zip((b, c), dealt, strict=True))
    if not paired:
        return Evidence(cell, block, b, c, never, np.zeros(len(baseline)), (), np.arange(len(baseline)))
    order = np.array(sorted(places[replica] for replica in baseline))
    found = Evidence(cell, block, b, c, never, np.zeros(len(order)), (), order)
    return replace(found, differences=ENDPOINTS[test].differences(*evaluated_alike(found), never, margin=1.0))
