"""The README's worked example: an optimizer's repository, its tests, three harmful changes and a harmless one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLE = README.partition("### A worked example")[2]
SOURCE, TESTS = re.findall(r"```python\n(.*?)```", EXAMPLE, re.S)[:2]
(SAVE,) = re.findall(r"`(grokbench baseline save .*?)`", EXAMPLE, re.S)


def swapped(old: str, new: str) -> str:
    assert SOURCE.count(old) == 1
    return SOURCE.replace(old, new)


DECAY = '                p.mul_(1 - group["lr"] * group["weight_decay"])\n'
CHANGES = {
    "tidied": SOURCE.replace("gram", "a").replace(
        "def polar(matrix, steps):\n", "def polar(matrix, steps):\n    # a note\n"
    ),
    "one step": swapped("steps=5", "steps=1"),
    "no decay": swapped(DECAY, ""),
    "never reset": swapped("state = self.state[p]", "state = KEPT.setdefault(tuple(p.shape), {})") + "\n\nKEPT = {}\n",
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """The example with its baseline."""
    folder = tmp_path_factory.mktemp("repository")
    (folder / "polar.py").write_text(SOURCE)
    (folder / "test_polar.py").write_text(TESTS)
    command = [sys.executable, "-m", "grokbench", *SAVE.split()[1:]]
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "OMP_NUM_THREADS": "2"})
    (folder / "grokbench.sqlite").unlink()
    return folder


def outcome(repository: Path, source: str, *options: str) -> str:
    """What pytest prints in the repository with this source."""
    (repository / "polar.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False).stdout


def test_tidied_it_passes(repository):
    assert "2 passed" in outcome(repository, CHANGES["tidied"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("one step", "spectrum: largest over smallest singular value"),
        ("no decay", "no dead knobs: changes nothing: weight_decay"),
        ("never reset", "deterministic: the same gradients give other weights the second time"),
    ],
)
def test_harmful_changes_do_not_conform(repository, change, text):
    out = outcome(repository, CHANGES[change], "-k", "conforms")
    assert "1 failed" in out
    assert text in out


def test_the_gate_stops_a_dropped_decay(repository):
    out = outcome(repository, CHANGES["no decay"], "-k", "groks")
    assert "1 failed" in out
    assert "REGRESSION: " in out
