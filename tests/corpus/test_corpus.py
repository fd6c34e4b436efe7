"""Public bug reports, a file a kind: the check must find each `Faulty`, and have nothing against its `Sound` twin.

A file's `EXPECT` is (check, words): the check that breaks in `Faulty`, saying these words. With `ONLY_SAID` it does
not break, but says them.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from grokbench.cli.guide import pages
from grokbench.conformance import CheckOutcome, examine
from grokbench.spec import registry

KINDS = sorted(path.stem for path in Path(__file__).parent.glob("*.py") if not path.stem.startswith(("test_", "_")))


GATE = Path(__file__).parents[2] / "benchmarks" / "records" / "corpus_gate.txt"


def by_gate():
    """What the guide says of a gate, by the pair."""
    found = {}
    for line in GATE.read_text(encoding="utf-8").splitlines()[2:]:
        kind, outcome, pairs, apart, *_ = line.split(" | ")
        others = "" if apart == "none" else f", from epoch {apart} on"
        words = {"REGRESSION": "REGRESSION", "INCONCLUSIVE": f"undecided{others}", "refused": "refused"}
        found[kind] = "same bits" if (outcome, pairs, apart) == ("PASS", "2", "none") else words[outcome]
    return found


def finding(kind, twin, check):
    module = importlib.import_module(f"corpus.{kind}")
    arguments = "(parameters='matrices')" if getattr(module, "MATRICES", False) else ""
    return examine(registry.parse(f"corpus.{kind}:{twin}{arguments}"), check, alone=True)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fault_is_found_and_its_sound_twin_passes(kind):
    module = importlib.import_module(f"corpus.{kind}")
    check, words = module.EXPECT
    faulty, sound = finding(kind, "Faulty", check), finding(kind, "Sound", check)
    assert sound.outcome in (CheckOutcome.HOLDS, CheckOutcome.SAID), sound.text
    assert words in faulty.text
    assert words not in sound.text
    assert faulty.outcome is (CheckOutcome.SAID if getattr(module, "ONLY_SAID", False) else CheckOutcome.BREAKS)


def title(module):
    """The first line of its docstring, from its source: PYTHONOPTIMIZE=2 takes docstrings away."""
    return ast.get_docstring(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))).splitlines()[0]


def test_the_guide_has_a_row_for_each_pair():
    text = pages()["check"]
    modules = {kind: importlib.import_module(f"corpus.{kind}") for kind in KINDS}
    gate = by_gate()
    rows = [
        f"| `{kind}` | {title(module)} | `{module.EXPECT[0]}` "
        f"| {'said' if getattr(module, 'ONLY_SAID', False) else 'breaks'} | {gate.get(kind, '–')} |"
        for kind, module in modules.items()
    ]
    table = text.partition("| pair | planted ")[2].partition("\n\n")[0]
    assert table.splitlines()[2:] == rows
    said = sum(getattr(module, "ONLY_SAID", False) for module in modules.values())
    words = " ".join(text.split())
    assert f"has {len(rows)} pairs" in words
    assert f"{len(rows) - said} break, and {said} are said" in words
