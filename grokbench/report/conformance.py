"""What optimizers keep to, for a terminal, as JSON and for GitHub Actions."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from grokbench.report import github, summary

if TYPE_CHECKING:
    from grokbench.conformance import Finding


def broken(findings: Sequence[Finding]) -> list[Finding]:
    """Those that say that something is wrong."""
    return [f for f in findings if f.outcome.value == "breaks"]


_HEADER = ("check", "outcome", "what was seen")
_STYLE = {"holds": "green", "breaks": "red", "said": "", "does not apply": "dim", "breaks, as expected": "yellow"}


def _row(finding: Finding) -> tuple[str, str, str]:
    return finding.check, finding.outcome.value, finding.text


def document(found: dict[str, list[Finding]]) -> dict[str, Any]:
    """{"optimizers": [{"optimizer", "conforms", "findings": [{"check", "outcome", "text"}]}]}."""
    return {
        "optimizers": [
            {
                "optimizer": name,
                "conforms": not broken(findings),
                "findings": [{"check": f.check, "outcome": f.outcome.value, "text": f.text} for f in findings],
            }
            for name, findings in found.items()
        ]
    }


def text(found: dict[str, list[Finding]], width: int, *, color: bool = False) -> str:
    """One optimizer check by check; several with a row each, and what they break."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(
        file=buffer, width=max(width, 100), force_terminal=color, highlight=False, markup=False, emoji=False
    )
    out = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    if len(found) == 1:
        ((name, findings),) = found.items()
        out.title, out.title_justify, out.title_style = name, "left", "bold"
        for column in _HEADER:
            out.add_column(column, no_wrap=column != _HEADER[-1])
        for finding in findings:
            check, outcome, seen = _row(finding)
            out.add_row(check, Text(outcome, _STYLE[outcome]), seen)
    else:
        for column in ("optimizer", "conforms", "what it does, and what breaks"):
            out.add_column(column, overflow="fold")
        for name, findings in found.items():
            wrong = broken(findings)
            lines = [f"{f.check}: {f.text}" for f in wrong]
            said = [f"{f.check}: {f.text}" for f in findings if f.outcome.value == "said"]
            out.add_row(name, Text("no" if wrong else "yes", "red" if wrong else "green"), "\n".join([*said, *lines]))
        out.caption = f"{sum(not broken(f) for f in found.values())} of {len(found)} conform"
    console.print(out)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def publish(found: dict[str, list[Finding]]) -> list[github.Note]:
    """A section of the step's summary; a note for what breaks."""
    return summary.findings([(name, *_row(finding)) for name, findings in found.items() for finding in findings])
