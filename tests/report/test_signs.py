"""Signs that a terminal lacks become others."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from grokbench.report import signs

SIGNS = "0.10–0.20 × 5 µs … → ▁█ Größe ☃"


def test_signs_become_those_of_the_terminal() -> None:
    for encoding, expected in (
        ("ascii", "0.10-0.20 x 5 us ... -> 18 Gro?e ?"),
        ("latin-1", "0.10-0.20 × 5 µs ... -> 18 Größe ?"),
        ("utf-8", SIGNS),
    ):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        assert signs.fitted(SIGNS, stream) == expected
        signs.fit(stream, None)
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
    code = "import sys; from grokbench.report import signs; signs.fit(sys.stdout); print('1–2')"
    here["PYTHONPATH"] = str(Path(signs.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], env={**here, **environment}, capture_output=True, check=True)
    assert done.stdout == (b"1-2\n" if ascii_only else "1–2\n".encode())
