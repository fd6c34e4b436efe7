"""What optimizers, tasks, softmaxes and models keep to, for a terminal, as JSON and for GitHub Actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from grokbench.report import github, layout, summary
from grokbench.report.layout import Column, Grid, Part

if TYPE_CHECKING:
    from grokbench.conformance import Finding

    Found = Mapping[str, Mapping[str, Sequence[Finding]]]
    """By kind, "optimizer" or another of `PLURAL`, and by name."""

PLURAL = {"optimizer": "optimizers", "task": "tasks", "softmax": "softmaxes", "model": "models"}


def broken(findings: Sequence[Finding]) -> list[Finding]:
    """Those that say that something is wrong."""
    return [f for f in findings if f.outcome.value == "breaks"]


_HEADER = ("check", "outcome", "what was seen")
_STYLE = {"holds": "green", "breaks": "red", "said": "", "does not apply": "dim", "breaks, as expected": "yellow"}


def _row(finding: Finding) -> tuple[str, str, str]:
    return finding.check, finding.outcome.value, finding.text


def document(found: Found) -> dict[str, Any]:
    """{"optimizers": [{"optimizer", "conforms", "findings": [{"check", "outcome", "text"}]}]}; other kinds alike."""
    return {
        plural: [
            {
                kind: name,
                "conforms": not broken(findings),
                "findings": [{"check": f.check, "outcome": f.outcome.value, "text": f.text} for f in findings],
            }
            for name, findings in found.get(kind, {}).items()
        ]
        for kind, plural in PLURAL.items()
    }


def _named(found: Found) -> tuple[str, list[tuple[str, Sequence[Finding]]]]:
    """What a column of the names is called, and each name with its findings. Among unlike kinds a name tells which."""
    kinds = [kind for kind, named in found.items() if named]
    if len(kinds) == 1:
        return kinds[0], list(found[kinds[0]].items())
    return "what", [(f"{kind} {name}", findings) for kind in kinds for name, findings in found[kind].items()]


def parts(found: Found) -> list[Part]:
    """One thing check by check; several with a row each, and what they break."""
    head, named = _named(found)
    if len(named) == 1:
        ((name, findings),) = named
        name = name if head == "optimizer" else f"{head} {name}"
        wrong = [f.check for f in broken(findings)]
        said = f"{name} does not conform: it breaks {', '.join(wrong)}." if wrong else f"{name} conforms."
        columns = [Column("check", right=False), Column("outcome", right=False), Column(_HEADER[2], False, wrap=True)]
        rows = [(f.check, Text(f.outcome.value, _STYLE[f.outcome.value]), f.text) for f in findings]
        return [said, Grid(columns, rows)]
    columns = [Column(head, right=False), Column("conforms", right=False)]
    columns.append(Column("what it does, and what breaks", right=False, wrap=True))
    rows = []
    for name, findings in named:
        wrong = [f"{f.check}: {f.text}" for f in broken(findings)]
        seen = [f"{f.check}: {f.text}" for f in findings if f.outcome.value == "said"]
        rows.append((name, Text("no" if wrong else "yes", "red" if wrong else "green"), "\n".join([*seen, *wrong])))
    return [f"{sum(not broken(f) for _, f in named)} of {len(named)} conform.", Grid(columns, rows)]


def text(found: Found, width: int | None, *, color: bool = False) -> str:
    """The same as text; see `layout.text`."""
    return layout.text(parts(found), width, color=color)


def publish(found: Found) -> list[github.Note]:
    """A section of the step's summary; a note for what breaks."""
    head, named = _named(found)
    return summary.findings([(name, *_row(finding)) for name, findings in named for finding in findings], head)
