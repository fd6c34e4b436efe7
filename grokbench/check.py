"""`grokbench check`: what optimizers keep to, as a table, JSON and annotations."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from grokbench.optim import registry
from grokbench.report import export, github, summary
from grokbench.spec import UsageError

if TYPE_CHECKING:
    from grokbench.conformance import Finding


def main(texts: Sequence[str], json: str | None) -> bool:
    """Check the optimizers, print what was found; True if none breaks anything. Raises `UsageError`."""
    from rich.console import Console

    from grokbench.conformance import conformance

    names = [name for text in texts for name in expand(text)]
    specs = {name: registry.parse(name) for name in names}
    if json:
        export.check(json)
    found: dict[str, list[Finding]] = {}
    progress = Console(stderr=True)
    for i, (name, spec) in enumerate(specs.items()):
        if len(specs) > 1:
            progress.print(f"{i + 1} of {len(specs)}: {name}", highlight=False, markup=False)
        found[name] = list(conformance(spec))
    out = sys.stderr if json == "-" else sys.stdout
    out.write(text(found, Console(file=out).width, color=out.isatty()))
    if json:
        export.write_line(json, document(found))
    github.annotate(summary.findings([(name, *_row(f)) for name, fs in found.items() for f in fs]), out)
    return not any(map(broken, found.values()))


def expand(text: str) -> list[str]:
    """`package.module:*` as every optimizer class of the module; anything else as it is."""
    module_name, _, attribute = text.partition(":")
    if attribute != "*":
        return [text]
    import torch

    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # an import runs foreign code, which can raise anything
        raise UsageError(f"cannot import {module_name!r}: {type(error).__name__}: {error}") from error
    classes = [n for n, value in vars(module).items() if inspect.isclass(value) and not n.startswith("_")]
    found = sorted(n for n in classes if issubclass(getattr(module, n), torch.optim.Optimizer))
    if not found:
        raise UsageError(f"{module_name} has no optimizer class")
    return [f"{module_name}:{name}" for name in found]


def broken(findings: Sequence[Finding]) -> list[Finding]:
    """Those that say that something is wrong."""
    return [f for f in findings if f.outcome.value == "breaks"]


_HEADER = ("check", "outcome", "what was seen")
_STYLE = {"holds": "green", "breaks": "red", "said": "", "does not apply": "dim"}


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
    import io

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    buffer = io.StringIO()
    console = Console(file=buffer, width=max(width, 100), force_terminal=color, highlight=False, markup=False)
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
        for column in ("optimizer", "conforms", "weight decay, and what breaks"):
            out.add_column(column, overflow="fold")
        for name, findings in found.items():
            wrong = broken(findings)
            lines = [f"{f.check}: {f.text}" for f in wrong]
            said = [f.text for f in findings if f.outcome.value == "said"]
            out.add_row(name, Text("no" if wrong else "yes", "red" if wrong else "green"), "\n".join([*said, *lines]))
        out.caption = f"{sum(not broken(f) for f in found.values())} of {len(found)} conform"
    console.print(out)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())
