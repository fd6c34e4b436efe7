"""Benchmark results of several machines side by side: files of pytest-benchmark, each compared with the first.

The *time ratio* of a file is its median time over the first file's, below 1 where it is faster. The interval is a
percentile bootstrap (Efron 1979) of the samples of both files, nominally of 95 %. It knows how the samples vary
within each session, not how sessions vary on one machine. Without samples there is none: `--benchmark-json` and
`--benchmark-save-data` keep them, `--benchmark-save` alone does not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from grokbench.spec import UsageError
from grokbench.stats.paired import BOOTSTRAPS, Floats

LEVEL = 0.95
SAMPLES = 5  # of fewer, medians of resamples are too alike; pytest-benchmark's own least number of rounds

BATCH = 10**7  # numbers that are resampled at once
MACHINE = ("processor", "machine", "threads")  # in which files of like machines agree
SHOWN = ("device", "torch", "threads", "python", "commit")  # of a file's origin; the rest only where it differs
ABSENT = "–"


class Measurement(NamedTuple):
    """One benchmark in one file. Times in seconds; device: "" where it is not told; reference_ratio: how many times as
    long the reference took.
    """

    median: float
    samples: Floats
    device: str
    reference: str | None
    reference_ratio: float | None


class Results(NamedTuple):
    """One file. origin: what produced it, by field. measurements: by the full name of the benchmark."""

    path: str
    origin: dict[str, str]
    measurements: dict[str, Measurement]


class Ratio(NamedTuple):
    """The time ratio to the first file; no interval where a file has fewer than `SAMPLES` samples."""

    value: float
    interval: tuple[float, float] | None


class Row(NamedTuple):
    """One benchmark in every file, None where it is missing, and the ratios to the first, which itself has none."""

    name: str
    measurements: list[Measurement | None]
    ratios: list[Ratio | None]


def read(path: str) -> Results:
    """Read a file that `pytest --benchmark-json` has written. Raises `UsageError` for anything else."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is not JSON") from None
    try:
        measurements = {str(entry["fullname"]): _measurement(entry) for entry in document["benchmarks"]}
        return Results(path, _origin(document), measurements)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise UsageError(f"{path} is not a file of pytest-benchmark") from None


def _measurement(entry: dict[str, Any]) -> Measurement:
    times, extra = entry["stats"], entry.get("extra_info") or {}
    ratio = extra.get("reference_ratio")
    samples = [_positive(time) for time in times.get("data") or []]
    return Measurement(
        _positive(times["median"]),
        np.array(samples),
        str(extra.get("device", "")),
        extra.get("reference"),
        None if ratio is None else _positive(ratio),
    )


def _positive(value: Any) -> float:
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(value)
    return number


def _origin(document: dict[str, Any]) -> dict[str, str]:
    """What produced a file: ours where it was recorded, else what pytest-benchmark says of any machine."""
    machine, commit = document.get("machine_info") or {}, document.get("commit_info") or {}  # hooks may leave them out
    found = {key: value for key, value in machine.items() if isinstance(value, str)}
    found["python"] = found.pop("python_version", ABSENT)
    found["processor"] = (machine.get("cpu") or {}).get("brand_raw", ABSENT)
    found.update(machine.get("grokbench") or {})
    devices = dict.fromkeys(
        (entry.get("extra_info") or {}).get("device", found["processor"]) for entry in document["benchmarks"]
    )
    found["device"] = "; ".join(devices)
    found["commit"] = str(commit.get("id") or ABSENT)[:10] + (", changed" if commit.get("dirty") else "")
    return {key: str(value) for key, value in found.items()}


def rows(files: Sequence[Results], *, together: bool = False) -> list[Row]:
    """Every benchmark of any file, in the order of the files. Raises `UsageError` if there is nothing to compare.

    together: intervals are so wide (Bonferroni) that all of them hold at once with 95 %.
    """
    if len(files) < 2:
        raise UsageError(f"a comparison needs at least two files, not only {files[0].path}")
    first, *others = (file.measurements for file in files)
    if not any(first.keys() & other.keys() for other in others):
        raise UsageError(f"no benchmark of {files[0].path} is in another of the files")
    found = []
    count = sum(len(first.keys() & other.keys()) for other in others) if together else 1
    level = 1 - (1 - LEVEL) / count
    for name in dict.fromkeys(name for file in files for name in file.measurements):
        alike = [file.measurements.get(name) for file in files]
        ratios = [None, *(_ratio(m, alike[0], level) for m in alike[1:])]
        found.append(Row(name, alike, ratios))
    return found


def _ratio(m: Measurement | None, baseline: Measurement | None, level: float = LEVEL) -> Ratio | None:
    if m is None or baseline is None:
        return None
    interval = None
    if min(len(m.samples), len(baseline.samples)) >= SAMPLES:

        def medians(a: Floats, b: Floats, axis: int) -> Floats:
            return np.median(a, axis) / np.median(b, axis)

        found = stats.bootstrap(
            (m.samples, baseline.samples),
            medians,
            n_resamples=max(BOOTSTRAPS, round(100 / (1 - level))),  # so that some lie beyond the ends
            confidence_level=level,
            batch=max(1, BATCH // max(len(m.samples), len(baseline.samples))),
            method="percentile",
            rng=np.random.default_rng(0),
        ).confidence_interval
        interval = float(found.low), float(found.high)
    return Ratio(m.median / baseline.median, interval)


def slower(table: Sequence[Row], limit: float) -> list[tuple[str, int, Ratio]]:
    """The benchmarks, with the number of the file, whose whole interval lies above 1 + limit.

    Raises `UsageError` where there is a ratio without an interval, which could hide one.
    """
    found = []
    for row in table:
        for number, ratio in enumerate(row.ratios):
            if ratio is None:
                continue
            if ratio.interval is None:
                raise UsageError(
                    f"{row.name} has fewer than {SAMPLES} samples, so --fail cannot decide: write the files with "
                    "--benchmark-json or --benchmark-save-data, which keep them"
                )
            if ratio.interval[0] > 1 + limit:
                found.append((row.name, number, ratio))
    return found


def alike(files: Sequence[Results], table: Sequence[Row]) -> None:
    """Raise `UsageError` if a benchmark was run on different devices, or the machines differ otherwise."""
    for row in table:
        devices = list(dict.fromkeys(m.device for m in row.measurements if m))
        if len(devices) > 1:
            seen = f"{row.name} ran on {' and '.join(devices)}"
            raise UsageError(f"the files are from unlike machines: {seen}; --unlike compares")
    for field in MACHINE:
        if field in differing(files):
            seen = " and ".join(dict.fromkeys(file.origin.get(field, ABSENT) for file in files))
            raise UsageError(f"the files are from unlike machines: {field} is {seen}; --unlike compares")


def differing(files: Sequence[Results]) -> list[str]:
    """The fields in which the origins of the files differ, those that are always shown first."""
    fields = dict.fromkeys([*SHOWN, *(field for file in files for field in file.origin)])
    return [field for field in fields if len({file.origin.get(field) for file in files}) > 1]
