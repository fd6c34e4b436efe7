"""What optimizers keep to, for a terminal, as JSON and for GitHub Actions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from grokbench.report import github, layout, summary
from grokbench.report.layout import Column, Grid, Part

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


def parts(found: dict[str, list[Finding]]) -> list[Part]:
    """One optimizer check by check; several with a row each, and what they break."""
    if len(found) == 1:
        ((name, findings),) = found.items()
        wrong = [f.check for f in broken(findings)]
        said = f"{name} does not conform: it breaks {', '.join(wrong)}." if wrong else f"{name} conforms."
        columns = [Column("check", right=False), Column("outcome", right=False), Column(_HEADER[2], False, wrap=True)]
        rows = [(f.check, Text(f.outcome.value, _STYLE[f.outcome.value]), f.text) for f in findings]
        return [said, Grid(columns, rows)]
    columns = [Column("optimizer", right=False), Column("conforms", right=False)]
    columns.append(Column("what it does, and what breaks", right=False, wrap=True))
    rows = []
    for name, findings in found.items():
        wrong = [f"{f.check}: {f.text}" for f in broken(findings)]
        seen = [f"{f.check}: {f.text}" for f in findings if f.outcome.value == "said"]
        rows.append((name, Text("no" if wrong else "yes", "red" if wrong else "green"), "\n".join([*seen, *wrong])))
    return [f"{sum(not broken(f) for f in found.values())} of {len(found)} conform.", Grid(columns, rows)]


def text(found: dict[str, list[Finding]], width: int | None, *, color: bool = False) -> str:
    """The same as text; see `layout.text`."""
    return layout.text(parts(found), width, color=color)


def publish(found: dict[str, list[Finding]]) -> list[github.Note]:
    """A section of the step's summary; a note for what breaks."""
    return summary.findings([(name, *_row(finding)) for name, findings in found.items() for finding in findings])
