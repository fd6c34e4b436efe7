"""What a task has to keep to, beyond what makes it a table at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from grokbench import tasks
from grokbench.conformance.outcome import CheckOutcome, ConformanceError, Seen


def is_table(text: str) -> Seen:
    spec = tasks.parse(text)
    train = spec.train_rows
    return Seen(
        f"{spec.rows} rows of {spec.positions} tokens, {train} of them for training; "
        f"{spec.vocabulary} tokens, {spec.classes} answers"
    )


def once(text: str) -> Seen:
    """Whether every question is asked once; a validation row that is trained on, too, says nothing."""
    questions = tasks.table(tasks.parse(text)).questions
    distinct, counts = np.unique(questions, axis=0, return_counts=True)
    if len(distinct) < len(questions):
        twice = distinct[counts.argmax()].tolist()
        raise ConformanceError(
            f"{len(questions) - len(distinct)} of {len(questions)} rows repeat a question, {twice} among them: "
            "validation rows would be trained on"
        )
    return Seen("every question is asked once")


def used(text: str) -> Seen:
    """Which answers there are, and how often the commonest one is right."""
    spec = tasks.parse(text)
    counts = np.bincount(tasks.table(spec).answers, minlength=spec.classes)
    share = float(counts.max() / counts.sum())
    idle = int((counts == 0).sum())
    seen = f"always answering {int(counts.argmax())} is right in {share:.1%} of the rows"
    return Seen(seen + f"; {idle} answers never occur" * bool(idle), CheckOutcome.SAID)


def everywhere(text: str) -> Seen:
    """Whether another process makes the same table, with other hashes of strings."""
    code = "import sys; from grokbench import tasks; print(tasks.parse(sys.argv[1]).table)"
    paths = [str(Path.cwd()), *sys.path]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "PYTHONHASHSEED": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", code, text], env=environment, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise ConformanceError(f"it fails in another process: {ran.stderr.strip().splitlines()[-1]}")
    if ran.stdout.strip() != str(tasks.parse(text).table):
        raise ConformanceError("another process makes another table")
    return Seen("another process makes the same table")


CHECKS: dict[str, Callable[[str], Seen]] = {
    "table": is_table,
    "asked once": once,
    "answers": used,
    "everywhere": everywhere,
}
