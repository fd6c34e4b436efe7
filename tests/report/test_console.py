"""Text for any terminal: signs that it lacks become others, and no variable makes a table narrower."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from judged import ADD, EARLIER, claim, judge, runs_of

from grokbench.report import console, terminal

SIGNS = "0.10–0.20 × 5 µs … → ▁█ Größe ☃"


def test_signs_become_those_of_the_terminal() -> None:
    for encoding, expected in (
        ("ascii", "0.10-0.20 x 5 us ... -> 18 Gro?e ?"),
        ("latin-1", "0.10-0.20 × 5 µs ... -> 18 Größe ?"),
        ("utf-8", SIGNS),
    ):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        assert console.fitted(SIGNS, stream) == expected
        console.fit(stream, None)
        stream.write(SIGNS)
        stream.flush()
        stream.seek(0)
        assert stream.read() == expected


@pytest.mark.parametrize(
    ("environment", "ascii_only"),
    [
        ({"LC_ALL": "C"}, True),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, True),
        ({"LANG": "C.UTF-8"}, False),
        ({}, False),  # of a container: Python writes UTF-8, and nobody asked for less
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, False),
        ({"PYTHONIOENCODING": "ascii"}, True),
    ],
)
def test_the_locale_c_has_ascii_alone(environment: dict[str, str], ascii_only: bool) -> None:
    names = ("LC_ALL", "LC_CTYPE", "LANG", "PYTHONUTF8", "PYTHONIOENCODING")
    here = {name: value for name, value in os.environ.items() if name not in names}
    code = "import sys; from grokbench.report import console; console.fit(sys.stdout); print('1–2')"
    here["PYTHONPATH"] = str(Path(console.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], env={**here, **environment}, capture_output=True, check=True)
    assert done.stdout == (b"1-2\n" if ascii_only else "1–2\n".encode())


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("variables", [{"TERM": "dumb"}, {"COLUMNS": "40"}, {"TERM": "dumb", "FORCE_COLOR": "1"}])
def test_a_table_is_whole_whatever_the_terminal(monkeypatch: pytest.MonkeyPatch, variables, color) -> None:
    asked = claim()
    runs = runs_of(asked, {ADD: EARLIER})
    verdicts = judge(asked, [ADD], {run.digest: record for run, _, record in runs})
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (row,) = [line for line in terminal.tables(verdicts, 40, color=color).splitlines() if line.startswith(" add ")]
    assert row.split()[:4] == ["add", "softmax", "250", "125"]
