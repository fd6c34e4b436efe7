"""The benchmarks on every GPU of this machine: one process each, at the same time, and the medians over the GPUs.

    PYTHONPATH=. python benchmarks/every_gpu.py -o here -- benchmarks/kernels --benchmark-max-time 0.5

What follows `--` is for pytest. here/gpu_0.json and so on hold what each GPU measured. here/every_gpu.json is of the
same form, with the medians of the GPUs as its samples, so `grokbench compare` reads it too.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokbench.training import devices

ROOT = Path(__file__).parents[1]


def measure(gpus: Sequence[str], folder: Path, arguments: Sequence[str]) -> list[Path]:
    """Run pytest once for each GPU, which is all that its process sees. Raises `SystemExit` if one of them fails."""
    working = []
    for number, gpu in enumerate(gpus):
        path = folder / f"gpu_{number}.json"
        command = [sys.executable, "-m", "pytest", "-q", "--benchmark-enable", f"--benchmark-json={path}"]
        environment = {**os.environ, devices.VISIBLE: gpu}
        with path.with_suffix(".txt").open("w") as log:
            whole = [*command, *arguments]
            process = subprocess.Popen(whole, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT)
        working.append((gpu, path, process))
    failed = [f"{gpu}: see {path.with_suffix('.txt')}" for gpu, path, process in working if process.wait()]
    if failed:
        raise SystemExit(f"pytest failed on GPU {'; '.join(failed)}")
    return [path for _, path, _ in working]


def merged(documents: Sequence[dict[str, Any]], gpus: Sequence[str]) -> dict[str, Any]:
    """One file of those of several GPUs, of the benchmarks that all of them have."""
    of_each = [{entry["fullname"]: entry for entry in document["benchmarks"]} for document in documents]
    shared = [name for name in of_each[0] if all(name in entries for entries in of_each)]
    found = [_over_gpus([entries[name] for entries in of_each], gpus) for name in shared]
    return {**documents[0], "benchmarks": found}


def _over_gpus(entries: Sequence[dict[str, Any]], gpus: Sequence[str]) -> dict[str, Any]:
    """One benchmark, whose samples are the medians of the GPUs. spread: their range over their median."""
    medians = [float(entry["stats"]["median"]) for entry in entries]
    middle = statistics.median(medians)
    several = len(medians) > 1
    quarters = statistics.quantiles(medians, n=4, method="inclusive") if several else [middle] * 3
    stats = {
        **entries[0]["stats"],
        "data": medians,
        "median": middle,
        "min": min(medians),
        "max": max(medians),
        "mean": statistics.mean(medians),
        "stddev": statistics.stdev(medians) if several else 0.0,
        "q1": quarters[0],
        "q3": quarters[2],
        "iqr": quarters[2] - quarters[0],
        "ops": 1 / statistics.mean(medians),
        "total": sum(medians),
        "rounds": len(medians),
    }
    each = {gpu: {"median": m, **entry["extra_info"]} for gpu, m, entry in zip(gpus, medians, entries, strict=True)}
    told = {key: entries[0]["extra_info"].get(key) for key in ("device", "dtype", "shapes", "reference")}
    ratios = [entry["extra_info"]["reference_ratio"] for entry in entries if "reference_ratio" in entry["extra_info"]]
    if ratios:
        told["reference_ratio"] = statistics.median(ratios)
    spread = (max(medians) - min(medians)) / middle
    return {**entries[0], "stats": stats, "extra_info": {**told, "spread": spread, "gpus": each}}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("every_gpu"), metavar="DIR")
    parser.add_argument("--gpus", help="such as 0,2 (default: all that CUDA would show)")
    parser.add_argument("pytest", nargs="*", default=["benchmarks"], help="for pytest (default: benchmarks)")
    options = parser.parse_args(arguments)
    gpus = options.gpus.split(",") if options.gpus else devices.visible()
    if not gpus:
        raise SystemExit("there is no GPU here")
    folder = options.output.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    files = measure(gpus, folder, options.pytest)
    document = merged([json.loads(path.read_text()) for path in files], gpus)
    (folder / "every_gpu.json").write_text(json.dumps(document, indent=1))
    for entry in document["benchmarks"]:
        median, spread = entry["stats"]["median"], entry["extra_info"]["spread"]
        print(f"{1e6 * median:12.1f} µs, spread {spread:6.1%} over {len(gpus)}: {entry['fullname']}")


if __name__ == "__main__":
    main()
