"""Text for any terminal, in signs that it has."""

from __future__ import annotations

import codecs
import io
import os
import sys
import unicodedata
from typing import TextIO

PLAIN = "grokbench.plain"  # what encoding errors are called by: signs that are lacking become others
_SIGNS = {
    "–": "-", "—": "-", "−": "-", "─": "-", "…": "...", "×": "x", "→": "->", "←": "<-", "·": "*",
    "≠": "!=", "≥": ">=", "≤": "<=", "±": "+/-", "µ": "u", "μ": "u", "‘": "'", "’": "'", "“": '"', "”": '"',
    **dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True)),
}  # fmt: skip


def _plain(error: UnicodeError) -> tuple[str, int]:
    """The sign as others in ASCII, the letter below an accent, or a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end]
    return "".join(_SIGNS.get(sign) or _below(sign) for sign in signs), error.end


def _below(sign: str) -> str:
    return unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode() or "?"


codecs.register_error(PLAIN, _plain)


def fit(*streams: TextIO | None) -> None:
    """Let these streams show other signs for those that they lack."""
    for stream in streams:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="ascii" if _ascii(stream) else None, errors=PLAIN)


def fitted(text: str, stream: TextIO | None) -> str:
    """A text in signs that a stream of somebody else has."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    encoding = "ascii" if _ascii(stream) else encoding
    return text.encode(encoding, PLAIN).decode(encoding)


def _ascii(stream: TextIO | None) -> bool:
    """Whether the process's own stream has ASCII alone, since the user chose the locale C.

    Python itself then writes UTF-8, as it does where no locale is set at all (https://peps.python.org/pep-0540/).
    """
    chosen = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_CTYPE", "LANG"))), None)
    told = "PYTHONUTF8" in os.environ or "PYTHONIOENCODING" in os.environ
    return stream in (sys.__stdout__, sys.__stderr__) and chosen in ("C", "POSIX") and not told
