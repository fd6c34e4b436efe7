"""The plan of the house: imports point downward, what reports need is free of torch, and files stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import grokbench

PACKAGE = Path(grokbench.__file__).parent
ROOT = Path(__file__).parents[1]
LONGEST = 400

# From the top down; a module imports only from rows below its own, or from its own package. A package stands
# for all of its modules unless one of them has a place of its own.
LAYERS = [
    {"__main__"},
    {"cli", "plugin", "suite", "suite.conformance"},
    {"arguments"},
    {"gate.report", "perf.report"},
    {"listing", "report.needs"},
    {"testing"},
    {"records", "session", "doctor", "compare", "sweep", "judge", "show", "check", "gate", "perf"},
    {"checkout", "gate.golden", "gate.baseline"},
    {"gate.setting"},
    {"trainer", "perf.race", "perf.clock"},
    {"workers", "conformance"},
    {"executor", "report"},
    {"verdict", "pack", "gate.decision"},
    {"figures", "ensemble", "sizing"},
    {"evidence", "power"},
    {"claims", "optim"},
    {"sequential", "store", "transformer", "softmax", "tasks", "optim.registry"},
    {"stats", "grok", "presets", "rng", "entries", "blocks", "kernels", "compiled"},
    {"protocols"},
    {"frame", "provenance", "spec", "devices"},
]
# The package's own contents page may show what lies at the bottom, and importing any module runs it.
CONTENTS = {"presets", "spec"}
WITH_TORCH = {
    "blocks",
    "compiled",
    "conformance",
    "ensemble",
    "entries",
    "executor",
    "frame",
    "gate.golden",
    "kernels",
    "optim",
    "pack",
    "perf",
    "perf.clock",
    "perf.report",
    "rng",
    "sizing",
    "softmax",
    "suite.conformance",
    "tasks",
    "testing",
    "transformer",
    "workers",
}

RANK = {unit: rank for rank, row in enumerate(LAYERS) for unit in row}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def unit(module: str) -> str | None:
    """The entry of LAYERS that a module belongs to: the most particular one."""
    parts = module.split(".")
    return next((u for n in range(len(parts), 0, -1) if (u := ".".join(parts[:n])) in RANK), None)


def type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def executed(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements that run when the module is imported: not those in functions or for type checkers."""
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif isinstance(statement, ast.If) and type_checking(statement.test):
            yield from executed(statement.orelse)
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ("body", "orelse", "finalbody"):
                yield from executed(getattr(statement, block, []))
            for handler in getattr(statement, "handlers", []):
                yield from executed(handler.body)


def imports(source: str) -> set[str]:
    """Full dotted names of the modules that are imported, with those that names are taken from."""
    found = set()
    for statement in executed(ast.parse(source).body):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        else:
            assert statement.level == 0, "imports are absolute"
            assert statement.module
            found |= {f"{statement.module}.{alias.name}" for alias in statement.names}
    return found


def own(names: set[str]) -> set[str]:
    """Those that are modules of this package, without its name; `a.b.name` is module `a.b` where `name` is none."""
    inside = {name.removeprefix("grokbench.") for name in names if name.startswith("grokbench.")}
    return {name if name in MODULES else name.rpartition(".")[0] for name in inside} - {""}


def upward(module: str, names: set[str]) -> list[str]:
    """Imports of a module that do not point downward."""
    here = unit(module)
    assert here, f"give {module} a place in LAYERS"
    return [name for name in sorted(own(names)) if unit(name) != here and RANK[unit(name) or ""] <= RANK[here]]


@pytest.mark.parametrize("module", [module for module in MODULES if module])
def test_imports_point_downward(module: str) -> None:
    assert upward(module, imports(MODULES[module].read_text())) == []


def test_the_contents_page_imports_little() -> None:
    assert own(imports(MODULES[""].read_text())) <= CONTENTS


@pytest.mark.parametrize("module", MODULES)
def test_torch_is_imported_by_the_engine_alone(module: str) -> None:
    names = imports(MODULES[module].read_text())
    if unit(module) not in WITH_TORCH:
        assert not [name for name in names if name.split(".")[0] == "torch"]
        assert not [name for name in own(names) if unit(name) in WITH_TORCH]


def test_every_place_is_taken() -> None:
    assert {unit(module) for module in MODULES if module} == set(RANK)
    assert WITH_TORCH.issubset(RANK)
    assert sum(map(len, LAYERS)) == len(RANK)


def test_the_rules_can_be_broken() -> None:
    """What the tests above would say of a module with these lines."""
    source = """
from typing import TYPE_CHECKING
import torch.nn
from grokbench import provenance
from grokbench.spec import UsageError
if TYPE_CHECKING:
    from grokbench.verdict import Verdict
else:
    from grokbench import session
def late():
    from grokbench import cli
class Here:
    from grokbench.optim import registry
try:
    from grokbench.report.terminal import text
except ImportError:
    from grokbench.optim.muon import update
"""
    names = imports(source)
    assert "torch.nn" in names
    assert own(names) == {"provenance", "spec", "session", "optim.registry", "report.terminal", "optim.muon"}
    assert upward("claims.new", names) == ["optim.muon", "report.terminal", "session"]
    assert upward("report.new", names) == ["session"]
    assert upward("cli", names) == []


@pytest.mark.parametrize("folder", ["grokbench", "tests", "benchmarks"])
def test_no_file_is_long(folder: str) -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert lengths
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}
