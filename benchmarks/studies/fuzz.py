"""Whether any table ends `grokbench judge` in a traceback: hostile files, and sound ones that were changed a little.

    python benchmarks/studies/fuzz.py [--files 5000] [--seed 0]

Three in four of the files are sound tables, of which up to three characters, fields or lines were changed; the others
are made of pieces that do harm. Each is judged with drawn options and printed. A seed gives the same files again.
Prints how many were judged and refused; ends with code 1, and the file, at the first traceback.
"""

from __future__ import annotations

import argparse
import io
import random
import traceback
from collections import Counter
from typing import Any

from grokbench.report import judged as report
from grokbench.spec import UsageError
from grokbench.verdicts.table import judge

PIECES = (
    "arm", "replica", "time", "event", "before", "cell", "order", "loss", "adamw", "muon", "0", "1", "-1", "1e15",
    "1e308", "nan", "inf", "never", "", " ", "é", "\x00", '"', "'", "#", "a;b", "9" * 30, "1,5", "[red]", "=1+1",
)  # fmt: skip
MARKS = (*',;\t\n"#.-0189eé \x00',)
OPTIONS: dict[str, tuple[Any, ...]] = {
    "baseline": ("adamw", "muon", "muno"),
    "budget": (1000.0, 150.0, "least", "most", -1.0),
    "every": (25.0, 0.1, 0.0),
    "target": (3.28, 150.0, -1.0),
    "paired": (False,),
    "sequential": (True,),
    "sign_test": (True,),
    "family": ("selected",),
    "blocks": ("cell",),
}


def sound(rng: random.Random) -> str:
    """A table that can be judged."""
    columns = ["arm", "replica", "time", *rng.sample(["cell", "event", "before", "order", "loss"], rng.randint(0, 4))]
    step = rng.choice([1, 10, 50])
    budget = rng.choice([200, 1000])
    lines = [columns]
    pairs, arms = rng.choice([1, 3, 6, 9]), rng.randint(2, 3)
    for cell in ["add", "gcd"][: 1 + ("cell" in columns)]:
        for arm in ("adamw", "muon", "sgd")[:arms]:
            for replica in range(pairs):
                time = step * rng.randint(1, 400 // step)
                reached = "event" not in columns or time <= budget
                time = time if reached else budget
                values = {
                    "arm": arm, "replica": str(replica), "time": str(time), "cell": cell, "event": str(int(reached)),
                    "before": str(time - step) if reached else "", "order": str(replica),
                    "loss": f"{rng.gauss(3, 1):.3f}",
                }  # fmt: skip
                lines.append([values[column] for column in columns])
    return "\n".join(",".join(fields) for fields in lines)


def changed(rng: random.Random, text: str) -> str:
    """With up to three characters, fields or lines changed, left out or doubled."""
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        lines = text.split("\n")
        i = rng.randrange(len(lines))
        kind = rng.randrange(5)
        if kind == 0 and text:
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(MARKS) + text[at + rng.randint(0, 1) :]
            continue
        if kind == 1:
            fields = lines[i].split(",")
            fields[rng.randrange(len(fields))] = rng.choice(PIECES)
            lines[i] = ",".join(fields)
        elif kind == 2:
            del lines[i]
        elif kind == 3:
            lines.insert(i, lines[i])
        else:
            lines[1:] = rng.sample(lines[1:], len(lines) - 1)
        text = "\n".join(lines) or "arm"
    return text


def hostile(rng: random.Random) -> str:
    """Lines of pieces, with or without a header."""
    separator = rng.choice([",", ";", "\t"])
    head = [separator.join(["arm", "replica", "time", "event"][: rng.randint(1, 4)])] * (rng.random() < 0.8)
    width = rng.randint(1, 5)
    rows = [separator.join(rng.choice(PIECES) for _ in range(width)) for _ in range(rng.randint(0, 8))]
    return rng.choice(["\n", "\r\n", "\r"]).join([*head, *rows])


def try_one(rng: random.Random) -> str:
    """What came of one file: 'judged' or 'refused'. Raises what `judge` must not; the file is in its notes."""
    text = changed(rng, sound(rng)) if rng.random() < 0.75 else hostile(rng)
    options = {name: rng.choice(OPTIONS[name]) for name in rng.sample(list(OPTIONS), rng.choice([0, 0, 0, 1, 2]))}
    if "loss" in text and rng.random() < 0.3:
        options |= {"value": "loss", "better": rng.choice(["lower", "higher"])}
    try:
        judged = judge(io.StringIO(text), **options)
        report.text(judged, rng.randint(40, 140))
        report.document(judged)
    except UsageError:
        return "refused"
    except Exception as error:
        error.add_note(f"{text!r} with {options}")
        raise
    return "judged"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, found = random.Random(options.seed), Counter[str]()
    for _ in range(options.files):
        try:
            found[try_one(rng)] += 1
        except Exception:
            traceback.print_exc()
            return 1
    print(f"{options.files} files: {found['judged']} judged, {found['refused']} refused, no traceback")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
