"""Everything that the first minutes on a GPU can tell, in one command, from a checkout and with nothing installed.

    PYTHONPATH=. python benchmarks/first_gpu.py --minutes 10 -o first

It verifies the machine, runs the tests that need a GPU, times kernels and training, and trains the table of `ci` and a
cell of `paper`. What is missing is skipped, with the reason. first/first_gpu.json is written after every figure, so
that a cut-off loses nothing, and first/first_gpu.md holds the same as tables.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from grokbench.perf import card
from grokbench.records import provenance
from grokbench.spec import UsageError
from grokbench.spec.errors import out_of_memory
from grokbench.training.local import resolve_device

sys.path.insert(0, str(Path(__file__).parent))
import first_stages as stages

Row = dict[str, Any]
# A stage and its weight: each has its share, by weight, of the time that is left when it begins.
STAGES: dict[str, tuple[float, Callable[[stages.Setting], Iterator[Row]]]] = {
    "verify": (2.0, stages.verification),
    "tests": (1.0, stages.tests),
    "kernels": (1.0, stages.kernels),
    "throughput": (2.5, stages.throughput),
    "table of ci": (2.0, stages.table),
    "a cell of paper": (2.5, stages.paper),
}


@dataclass
class Journal:
    """What was found, in a file that is whole at every moment, and as a page."""

    folder: Path
    content: dict[str, Any]

    def write(self) -> None:
        for name, text in (
            ("first_gpu.json", json.dumps(self.content, indent=1)),
            ("first_gpu.md", page(self.content)),
        ):
            partial = self.folder / f"{name}.partial"
            partial.write_text(text)
            partial.replace(self.folder / name)


def page(content: dict[str, Any]) -> str:
    """All of it in Markdown, a table a stage."""
    lines = ["# The first minutes on this machine", "", content["command"], "", *_table([content["machine"]])]
    for name, stage in content["stages"].items():
        lines += ["", f"## {name}: {stage['status']}", "", stage["reason"] or f"{stage['seconds']:.0f} s"]
        lines += ["", *_table(stage["rows"])]
        cards = [seen for seen in (stage["before"], stage["after"]) if seen]
        lines += ["", *_table(cards)] if cards else []
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row]) -> list[str]:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if not columns:
        return ["Nothing was measured."]
    lines = [columns, ["---"] * len(columns), *([_cell(row.get(column)) for column in columns] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|").replace("\n", " ")


def measure(
    journal: Journal, setting: stages.Setting, minutes: float, chosen: dict[str, Any] = STAGES, out: Any = sys.stdout
) -> bool:
    """Run the stages one after another; whether none failed. `KeyboardInterrupt` is noted and passed on."""
    end = time.monotonic() + 60 * minutes
    sound, weights = True, [weight for weight, _ in chosen.values()]
    for i, (name, (weight, stage)) in enumerate(chosen.items()):
        began = time.monotonic()
        share = weight / sum(weights[i:])
        setting.end = began + share * max(0.0, end - began)
        note: dict[str, Any] = {"status": "under way", "reason": "", "rows": [], "seconds": 0.0}
        note |= {"before": card.state(setting.device), "after": {}}
        journal.content["stages"][name] = note
        out.write(f"\n{name}, at most about {setting.left():.0f} s\n")
        try:
            for row in stage(setting):
                note["rows"].append(row)
                note["seconds"] = time.monotonic() - began
                journal.write()
                out.write("  ".join(f"{key} {_cell(value)}" for key, value in row.items()) + "\n")
                out.flush()
            note["status"] = "done"
        except stages.SkippedError as skipped:
            note |= {"status": "cut off" if note["rows"] or skipped.cut else "skipped", "reason": str(skipped)}
        except (Exception, KeyboardInterrupt) as error:
            what = "out of memory" if out_of_memory(error) else f"{type(error).__name__}: {error}"
            note |= {"status": "FAILED", "reason": what, "traceback": traceback.format_exc()}
            sound = False
            if isinstance(error, KeyboardInterrupt):
                raise
        finally:
            note["seconds"], note["after"] = time.monotonic() - began, card.state(setting.device)
            journal.write()
            out.write(f"{name}: {note['status']}{': ' * bool(note['reason'])}{note['reason']}\n")
        sound = sound and not any(row.get("status") == "FAILED" for row in note["rows"])
    return sound


def machine(device: torch.device) -> Row:
    """What is measured, and where."""
    here = {key: value for key, value in provenance.capture(device.type).as_dict().items() if value is not None}
    if device.type == "cuda":
        here["memory GiB"] = torch.cuda.get_device_properties(device).total_memory / 2**30
    return here


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="about how long (default: 10)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="a folder for the results")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu or cuda (default: auto)")
    options = parser.parse_args(arguments)
    try:
        device = torch.device(resolve_device(options.device))
    except UsageError as error:
        parser.error(str(error))
    options.output.mkdir(parents=True, exist_ok=True)
    command = f"`first_gpu.py --minutes {options.minutes:g} --device {device.type}`"
    journal = Journal(options.output, {"command": command, "machine": machine(device), "stages": {}})
    sound = measure(journal, stages.Setting(device, options.output), options.minutes)
    print(f"\nwritten: {options.output / 'first_gpu.json'} and {options.output / 'first_gpu.md'}")
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
