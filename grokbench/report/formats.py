"""The forms in which a session's answers go into files: each is an option, of that name, of `run` and of pytest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from grokbench.records import files
from grokbench.report import export
from grokbench.report.terminal import Runs
from grokbench.verdicts.verdict import Verdict

FORMATS: dict[str, Callable[[str, Sequence[Verdict], Runs], None]] = {"json": export.write}


def prepared(option: Callable[[str], str | None]) -> dict[str, str]:
    """`asked`, once all of these files can be written and older ones are gone. Raises `UsageError`."""
    paths = asked(option)
    for path in paths.values():
        files.prepare(path)
    return paths


def asked(option: Callable[[str], str | None]) -> dict[str, str]:
    """The path for each form that was asked for. option: what an option was given, by its name."""
    return {name: path for name in FORMATS if (path := option(name))}


def write(paths: Mapping[str, str], verdicts: Sequence[Verdict], runs: Runs) -> None:
    """Write each form to its path."""
    for name, path in paths.items():
        FORMATS[name](path, verdicts, runs)
