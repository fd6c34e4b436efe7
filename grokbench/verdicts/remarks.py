"""What a reader has to know of a table before its verdicts: what is left out, unlike evaluations, what can decide."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np

from grokbench.verdicts.reading import Row, short
from grokbench.verdicts.verdict import Verdict

CHANCE = 0.05  # of times that lie on a coarser grid by luck, below which it is believed to be one
LEAST_RUNS = 3  # that tell a grid
FINE = 1e-3  # of a time, below which it does not matter how often it was looked for
LISTED = 3  # cells that are named


def first_lines(
    rows: Sequence[Row],
    verdicts: Sequence[Verdict],
    baseline: str,
    *,
    value: str | None,
    family: str,
    blocks: str,
    target: float | None,
) -> list[str]:
    """The lines that stand above the tables."""
    by_arm: dict[str, list[Verdict]] = {}
    for v in verdicts:
        by_arm.setdefault(v.arms[1], []).append(v)
    lines = left_out(rows, baseline)
    if value is None and target is None:
        lines += grids(rows, baseline)
    lines += _family(by_arm, family)
    if verdicts[0].question.sequential:
        told = any(row.order is not None for row in rows)
        how = (
            "of the column 'order'" if told else "in which their replicas first appear in the file, so append new ones"
        )
        lines.append(f"pairs are taken in the order {how}")
    shared: dict[str, list[str]] = {}
    for arm, own in by_arm.items():
        shared.setdefault(_deciding(own, blocks), []).append(arm)
    return [*lines, *(f"{', '.join(arms)} against {baseline}: {said}" for said, arms in shared.items())]


def left_out(rows: Iterable[Row], baseline: str) -> list[str]:
    """The cells that one of two arms lacks."""
    has: dict[str, dict[str, None]] = {}
    for row in rows:
        has.setdefault(row.arm, {})[row.cell] = None
    lines = []
    for arm, cells in has.items():
        lacking = [c for c in dict.fromkeys([*has[baseline], *cells]) if (c in cells) != (c in has[baseline])]
        if lacking:
            lines.append(f"{arm} against {baseline} leaves out {_some(lacking)}: only one of them has runs there")
    return lines


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(map(short, names[:LISTED])) + more


def grids(rows: Iterable[Row], baseline: str) -> list[str]:
    """A line where an arm's times seem to come from evaluations of another frequency than the baseline's.

    An arm's grid is guessed as the common divisor of its times in a cell. It counts as coarser than another's if times
    on the finer grid had all fallen onto it by chance less than once in twenty. Not where `before` tells it.
    """
    times: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row.event and row.before is None:
            times.setdefault(row.cell, {}).setdefault(row.arm, []).append(row.time)
    found: dict[str, str] = {}
    for own in times.values():
        steps = {arm: _divisor(seen) for arm, seen in own.items()}
        for arm in steps:
            if baseline in steps and (_coarser(arm, baseline, own, steps) or _coarser(baseline, arm, own, steps)):
                for each in (baseline, arm):
                    found.setdefault(each, _on(each, own[each], steps[each]))
    if not found:
        return []
    return [
        f"unlike evaluations? {'; '.join(found.values())}. An arm that was evaluated less often looks later than it "
        "is: --every STEP, the coarser one, or a column 'before' with the evaluation before each time makes fair ties"
    ]


def _coarser(one: str, other: str, own: dict[str, list[float]], steps: dict[str, Fraction]) -> bool:
    """Whether an arm's times were looked for less often than another's, so far as they tell."""
    factor, seen = steps[one] / steps[other], own[one]
    if len(seen) < LEAST_RUNS or factor.denominator > 1 or factor == 1 or steps[one] < FINE * max(seen):
        return False
    return float(factor) ** -len(set(seen)) < CHANCE


def _on(arm: str, seen: Sequence[float], step: Fraction) -> str:
    """What is seen of an arm's times."""
    if len(set(seen)) == 1:
        return f"all times of {arm} are {seen[0]:g}"
    return f"times of {arm} are multiples of {float(step):g}"


def _divisor(times: Sequence[float]) -> Fraction:
    """The greatest common divisor of times as they are written."""
    if all(float(time).is_integer() for time in times):
        return Fraction(math.gcd(*map(int, times)))
    texts = [np.format_float_positional(time, trim="-") for time in set(times)]
    places = max(len(text.partition(".")[2]) for text in texts)
    whole = (text.partition(".") for text in texts)
    return Fraction(math.gcd(*(int(left + right.ljust(places, "0")) for left, _, right in whole)), 10**places)


def _family(by_arm: dict[str, list[Verdict]], family: str) -> list[str]:
    cells = sum(v.cell is not None for own in by_arm.values() for v in own)
    if cells < 2:
        return []
    if family == "selected":
        return [
            "p is corrected over the cells of each arm alone (--family selected): this is right for arms that were "
            "chosen before any data were seen"
        ] * (len(by_arm) > 1)
    how = "closed testing" if next(iter(by_arm.values()))[0].question.sequential else "Holm"
    what = f"{len(by_arm)} arms" if len(by_arm) == cells else f"{len(by_arm)} arms in their cells"
    if len(by_arm) == 1:
        return [f"p is corrected over {cells} cells ({how})"]
    return [
        f"p is corrected over the {cells} comparisons of this file ({what}; {how}); --family selected corrects each "
        "arm alone, for an arm that was chosen before any data were seen"
    ]


def _deciding(own: Sequence[Verdict], blocks: str) -> str:
    """How many independent blocks an arm has, and whether they can decide anything."""
    cells, pools = [v for v in own if v.cell is not None], [v for v in own if v.cell is None]
    if not pools:
        (v,) = cells
        return f"{_size(v)} {_can(v)}"
    able = [v for v in cells if v.least <= v.level]
    (pool,) = pools
    pairs = f"{pool.pairs} {pool.question.unit}s" if pool.question.paired else _size(pool)
    line = f"{pairs} in {len(cells)} cells"
    if pool.question.paired:
        line += f", {_blocks(pool.blocks)}"
        if pool.blocks < pool.pairs:
            line += " (replicas of one number count once; --blocks cell if they share nothing across cells)"
        elif blocks == "cell":
            line += " (--blocks cell)"
    line += f". Over all cells they {_can(pool)}; "
    if not able:
        best = min(cells, key=lambda v: v.least)
        return line + f"no cell alone {_can(best).replace('never', 'ever')}"
    return line + ("so can each cell" if len(able) == len(cells) else f"so can {len(able)} of the cells alone")


def _blocks(count: int) -> str:
    return f"{count} independent block{'s' * (count != 1)}"


def _size(v: Verdict) -> str:
    if v.question.paired:
        return f"{v.pairs} independent {v.question.unit}{'s' * (v.pairs != 1)}"
    baseline, candidate = (v.runs[label] for label in v.arms)
    return f"{candidate} run{'s' * (candidate != 1)} against {baseline}"


def _can(v: Verdict) -> str:
    """Whether so many can decide, with the smallest p that is possible."""
    odds = 1 / max(v.least, 1e-15)
    whole = v.cells == 1 and odds < 1e7 and abs(odds - round(odds)) < 1e-6 * odds
    least = f"1/{round(odds)}" if whole else f"{v.least:.2g}" if v.least >= 1e-15 else "below 1e-15"
    after = f" after correction over {v.cells}" * (v.cells > 1)
    return f"can {'decide' if v.least <= v.level else 'never decide'}: the smallest possible p is {least}{after}"
