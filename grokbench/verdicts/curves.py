"""Anyone's learning curves -> the times at which runs reached a threshold, as rows for `table.judge`. Torch-free.

The rule is that of grokbench's own runs, `records.grok.grok_time`. Files are tables or JSON lines, one a run or several
runs in one; wandb's exports of runs and charts; and TensorBoard's event files, by the package tensorboard.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from grokbench.records.grok import Trace, grok_time
from grokbench.spec import GrokCriterion, UsageError
from grokbench.verdicts.reading import NAMES, Row, Source, columns_of, name_of, number, records, short, text_of

STEPS = ("step", "steps", "_step", "global_step", "trainer/global_step", "iteration", "iter", "epoch", "epochs")
RUNS = ("run", "run_name", "run_id", "name")
WORDS = ("seed", "replica", "rep", "run", "s", "r")
RUN = rf"(?P<arm>.+?)[ _/.-]*(?:{'|'.join(WORDS)})?[ _=.-]*(?P<replica>\d+)"  # as most people name their runs


class Curve(NamedTuple):
    """One run: evaluations as (step, metric, what has to settle first); run: its name, for messages."""

    run: str
    cell: str
    arm: str
    replica: str
    points: list[tuple[float, float, float]]


class Rule(NamedTuple):
    """When a time is reached. above, below: thresholds of the metric, one of them None.

    hold: so many further evaluations that have to reach it, too; the time is that of the first of them. settled: name
    and threshold of a metric that has to be at least so high for `settle` evaluations in a row, and to stay.
    """

    metric: str
    above: float | None = None
    below: float | None = None
    hold: int = 0
    settled: tuple[str, float] | None = None
    settle: int = 3

    def reached(self, value: float) -> bool:
        return value >= self.above if self.above is not None else value <= (self.below or 0.0)


class Times(NamedTuple):
    """rows: for `table.judge`. notes: what a reader has to know of how the files were understood."""

    rows: list[Row]
    notes: list[str]


def times(
    sources: Source | Sequence[Source],
    metric: str,
    *,
    above: float | None = None,
    below: float | None = None,
    hold: int = 0,
    settled: tuple[str, float] | None = None,
    settle: int = 3,
    step: str | None = None,
    runs: str | None = None,
) -> Times:
    """When each run's metric first reached a threshold, with the evaluation before.

    sources: one or several paths, open files or DataFrames. metric: the column. above, below: one of them. hold:
    further evaluations that have to reach it, too. settled: name and threshold of what has to be high before, such as
    ('train_acc', 0.99), in `settle` evaluations in a row. step: the column of the time, where there are several. runs:
    how runs are named where arm and replica have no columns, as in '{arm}-seed{replica}'; {cell} may be there, too.

    Raises `UsageError` for what cannot be read.
    """
    if (above is None) == (below is None):
        raise UsageError("when is it reached? say either --above or --below")
    if not all(math.isfinite(x) for x in (above, below, settled and settled[1]) if x is not None):
        raise UsageError("thresholds must be numbers")
    rule = Rule(metric, above, below, hold, settled, settle)
    criterion = GrokCriterion(1, hold=hold, settle=settle)  # checks the numbers
    several = sources if isinstance(sources, list | tuple) else [sources]
    notes: dict[str, None] = {}
    curves = [curve for source in several for curve in _curves(source, rule, step, _pattern(runs), notes)]
    if not curves:
        raise UsageError("there are no runs in these files")
    seen: dict[tuple[str, str, str], str] = {}
    for curve in curves:
        place = curve.cell, curve.arm, curve.replica
        if place in seen:
            raise UsageError(
                f"{curve.run} and {seen[place]} are both replica {curve.replica} of {curve.arm}: --runs PATTERN, as in "
                "'{arm}-seed{replica}', says how they are named"
            )
        seen[place] = curve.run
    highest = max((value for curve in curves for _, value, _ in curve.points if math.isfinite(value)), default=0.0)
    if above is not None and above <= 1 < highest / 1.5:
        notes[f"{metric} goes up to {highest:g}: is it in per cent? --above {100 * above:g}"] = None
    rows = [_row(line, curve, rule, criterion) for line, curve in enumerate(curves, 2)]
    arms: dict[str, int] = {}
    for row in rows:
        arms[row.arm] = arms.get(row.arm, 0) + 1
    notes[f"{len(rows)} runs: {', '.join(f'{count} of {arm}' for arm, count in arms.items())}"] = None
    return Times(rows, list(notes))


def _row(line: int, curve: Curve, rule: Rule, criterion: GrokCriterion) -> Row:
    """The time of one curve, by the detector on what each evaluation says."""
    points = sorted(curve.points, key=lambda point: point[0])
    steps = [point[0] for point in points]
    if len(set(steps)) < len(steps):
        twice = next(one for one, other in itertools.pairwise(steps) if one == other)
        raise UsageError(f"{curve.run} has two evaluations of {rule.metric} at {twice:g}")
    if not points:
        raise UsageError(f"{curve.run} has no evaluation of {rule.metric}")
    reached = np.array([rule.reached(value) for _, value, _ in points], dtype=float)
    ready = np.array([rule.settled is None or other >= rule.settled[1] for *_, other in points], dtype=float)
    nothing = np.full(len(points), np.nan, dtype="<f4")
    trace = Trace(np.arange(1, len(points) + 1, dtype="<i4"), ready, reached, nothing, nothing)
    settle = criterion.settle if rule.settled else 1
    found = grok_time(trace, GrokCriterion(len(points), settle=settle, hold=rule.hold))
    at = found.held if rule.hold else found.epoch
    place = curve.cell, curve.arm, curve.replica
    if at is None:
        diverged = not math.isfinite(points[-1][1])  # it would not have got there later, whenever it was stopped
        return Row(line, *place, math.inf if diverged else steps[-1], False)
    if steps[at - 1] <= 0:
        raise UsageError(f"{curve.run} has reached it at {steps[at - 1]:g} already, before any training")
    return Row(line, *place, steps[at - 1], True, steps[at - 2] if at > 1 and steps[at - 2] >= 0 else 0.0)


def table(rows: Iterable[Row]) -> str:
    """The rows as text that `grokbench judge` reads."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("cell", "arm", "replica", "time", "event", "before"))
    for row in rows:
        time = "never" if row.time == math.inf else f"{row.time:.15g}"
        before = "" if row.before is None else f"{row.before:.15g}"
        writer.writerow((row.cell, row.arm, row.replica, time, int(row.event), before))
    return out.getvalue()


def _pattern(runs: str | None) -> re.Pattern[str]:
    """How a run's name holds its arm and replica. Raises `UsageError` for a pattern without both."""
    if runs is None:
        return re.compile(RUN, re.IGNORECASE)
    if "{arm}" not in runs or "{replica}" not in runs or any(runs.count(f"{{{n}}}") > 1 for n in NAMES):
        raise UsageError(f"a pattern of runs holds {{arm}} and {{replica}} once each, not {short(runs)}")
    text = re.escape(runs)
    for name in ("cell", "arm", "replica"):
        text = text.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>.+?)")
    return re.compile(text)


def _named(run: str, pattern: re.Pattern[str]) -> tuple[str, str, str]:
    """Cell, arm and replica of a run's name."""
    *_, last = parts = run.split("/")
    for name in (last, "/".join(parts[-2:]), run):
        found = pattern.fullmatch(name)
        if found and found["arm"].lower() not in WORDS:
            break
    else:
        raise UsageError(
            f"the run {short(run)} does not tell its arm and replica: --runs PATTERN says how, as in "
            "'{arm}-seed{replica}'"
        )
    told = found.groupdict()
    return told.get("cell") or "all", told["arm"], told["replica"]


def _curves(
    source: Source, rule: Rule, step: str | None, pattern: re.Pattern[str], notes: dict[str, None]
) -> Iterator[Curve]:
    """The runs of one source."""
    name = name_of(source)
    path = Path(source) if isinstance(source, str | Path) and str(source) != "-" else None
    if path is not None and (path.is_dir() or path.name.startswith("events.out.tfevents")):
        from grokbench.verdicts.events import scalars

        wanted = [rule.metric, *([rule.settled[0]] if rule.settled else [])]
        for run, own in scalars(path, wanted):
            yield _curve(run, {}, _merge(own, rule), pattern)
        return
    text = text_of(source, name)
    default = str(path.with_suffix("")) if path else name
    first = text.lstrip()[:1]
    header, rows = _objects(name, text) if first in ("{", "[") else _fields(name, text)
    charts = [title for title in header if title.endswith(f" - {rule.metric}")]
    if charts and rule.metric not in header:
        yield from _charts(name, header, rows, charts, rule, step, pattern, notes)
        return
    wanted = [rule.metric, *([rule.settled[0]] if rule.settled else [])]
    for metric in wanted:
        if metric not in header:
            raise UsageError(f"{name} has no column {short(metric)}; it has {', '.join(map(short, header[:30]))}")
    time = _time_of(name, header, step)
    places = {**{c: NAMES[c] for c in ("cell", "arm", "replica")}, "run": RUNS}
    columns = columns_of(name, header, ",", places, ())
    by_run: dict[tuple[str, ...], dict[str, dict[float, float]]] = {}
    for line, fields in rows:
        key = tuple(
            fields.get(header[columns[c]], "") if c in columns else "" for c in ("cell", "arm", "replica", "run")
        )
        for metric in wanted:
            if (value := fields.get(metric, "")) != "":
                at = _finite(name, line, time, fields.get(time, ""))
                seen = by_run.setdefault(key, {}).setdefault(metric, {})
                if at in seen:
                    raise UsageError(f"{name}, line {line}: {metric} of this run is there already at {at:g}")
                seen[at] = _value(name, line, metric, value)
    for (cell, arm, replica, run), own in by_run.items():
        told = {k: v for k, v in (("cell", cell), ("arm", arm), ("replica", replica)) if v}
        yield _curve(run or default, told, _merge(own, rule), pattern)


def _curve(
    run: str, told: Mapping[str, str], points: list[tuple[float, float, float]], pattern: re.Pattern[str]
) -> Curve:
    """told: by columns; what they leave open stands in the run's name."""
    if "arm" in told and "replica" in told:
        shown = f"replica {told['replica']} of {told['arm']}"
        return Curve(shown, told.get("cell", "all"), told["arm"], told["replica"], points)
    cell, arm, replica = _named(run, pattern)
    return Curve(short(run), told.get("cell", cell), told.get("arm", arm), told.get("replica", replica), points)


def _merge(own: Mapping[str, Mapping[float, float]], rule: Rule) -> list[tuple[float, float, float]]:
    """Evaluations of the metric, each with the latest of what has to settle."""
    metric = own.get(rule.metric, {})
    if rule.settled is None:
        return [(step, value, 1.0) for step, value in metric.items()]
    other = sorted(own.get(rule.settled[0], {}).items())
    points, i, latest = [], 0, math.nan
    for step in sorted(metric):
        while i < len(other) and other[i][0] <= step:
            latest = other[i][1]
            i += 1
        points.append((step, metric[step], latest))
    return points


def _charts(
    name: str,
    header: Sequence[str],
    rows: Iterable[tuple[int, dict[str, str]]],
    charts: Sequence[str],
    rule: Rule,
    step: str | None,
    pattern: re.Pattern[str],
    notes: dict[str, None],
) -> Iterator[Curve]:
    """A chart that wandb exported: a column a run, with its smallest and largest value where it was thinned."""
    if rule.settled:
        raise UsageError(f"{name} is a chart of {rule.metric} alone: --settle needs the runs' own exports")
    time = _time_of(name, header, step)
    found: dict[str, list[tuple[float, float, float]]] = {title: [] for title in charts}
    for line, fields in rows:
        for title in charts:
            if (value := fields.get(title, "")) != "":
                found[title].append(
                    (_finite(name, line, time, fields.get(time, "")), _value(name, line, title, value), 1)
                )
                ends = [fields.get(f"{title}__{end}", value) or value for end in ("MIN", "MAX")]
                if number(ends[0]) != number(ends[1]) and all(math.isfinite(number(end)) for end in ends):
                    notes[f"{name} was thinned or averaged (__MIN and __MAX differ): its times are no exact ones"] = (
                        None
                    )
    for title, points in found.items():
        run = title.removesuffix(f" - {rule.metric}")
        if run.startswith("Group: "):
            raise UsageError(f"{name} holds {short(run)}, a mean over runs: export the chart without grouping")
        yield _curve(run, {}, points, pattern)


def _time_of(name: str, header: Sequence[str], step: str | None) -> str:
    """The column of the time."""
    if step is not None:
        if step not in header:
            raise UsageError(f"{name} has no column {short(step)}; it has {', '.join(map(short, header[:30]))}")
        return step
    found = [title for title in header if title.lower() in STEPS]
    if len(found) != 1:
        what = (
            f"{len(found)} columns for the time: {', '.join(map(short, found))}" if found else "no column for the time"
        )
        raise UsageError(f"{name} has {what}; --step NAME says which it is")
    return found[0]


def _fields(name: str, text: str) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """The header of a table, and its rows by column."""
    lines = records(name, text)
    _, header, _ = next(lines, (0, [], ""))
    if not header:
        raise UsageError(f"{name} has no rows")
    doubled = next((title for title in header if title and header.count(title) > 1), None)
    if doubled:
        raise UsageError(f"{name} has the column {short(doubled)} twice; leave one")
    return header, ((line, dict(zip(header, fields, strict=True))) for line, fields, _ in lines)


def _objects(name: str, text: str) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """The same of JSON: an object a line, or a list of them."""
    objects: list[tuple[int, Any]] = []
    try:
        if text.lstrip().startswith("["):
            objects = [(i, entry) for i, entry in enumerate(json.loads(text), 1)]
        else:
            for i, entry in enumerate(text.splitlines(), 1):
                if entry.strip():
                    objects.append((i, json.loads(entry)))
    except (ValueError, RecursionError):
        raise UsageError(f"{name} is neither a table nor JSON lines: line {len(objects) + 1} cannot be read") from None
    rows: list[tuple[int, dict[str, str]]] = []
    for line, entry in objects:
        if not isinstance(entry, dict):
            raise UsageError(f"{name}, line {line}: it is no JSON object")
        rows.append((line, {k: _plain(v) for k, v in entry.items() if not isinstance(v, dict | list)}))
    return list(dict.fromkeys(key for _, row in rows for key in row)), iter(rows)


def _plain(value: object) -> str:
    """A value of JSON as a table has it: nothing for null."""
    return "" if value is None else str(value)


def _finite(name: str, line: int, column: str, text: str) -> float:
    found = number(text)
    if not math.isfinite(found):
        raise UsageError(f"{name}, line {line}: {column} must be a number, not {short(text)}")
    return found


def _value(name: str, line: int, column: str, text: str) -> float:
    """A value of a metric; what is no number counts as not reached if it says so itself."""
    found = number(text)
    if math.isnan(found) and text.lower() not in ("nan", "inf", "-inf"):
        raise UsageError(f"{name}, line {line}: {column} must be a number, not {short(text)}")
    return found
