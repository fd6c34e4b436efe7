"""The plan of the house: imports point downward, what judges is free of torch, and files stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import grokbench

PACKAGE = Path(grokbench.__file__).parent
ROOT = Path(__file__).parents[1]
LONGEST = 400

# The rooms from the top down. A module imports only from rooms below its own, or from its own room. Imports in
# functions count; those for type checkers alone do not.
ROOMS = [
    {"__main__"},
    {"cli"},
    {"plugin", "suite"},
    {"api"},
    {"report", "testing"},
    {"gates", "perf", "conformance", "session"},
    {"training"},
    {"engine"},
    {"optim"},
    {"models", "softmaxes"},
    {"numerics"},
    {"verdicts"},
    {"claims"},
    {"records", "tasks"},
    {"options", "spec", "stats"},
]
# Rooms and modules that import torch when they are imported. All others start without it.
WITH_TORCH = {
    "conformance",
    "engine",
    "models",
    "numerics",
    "optim",
    "perf",
    "report.compare",
    "report.perf",
    "softmaxes",
    "suite.conformance",
    "testing",
    "training.golden",
    "training.local",
    "training.workers",
}
RANK = {room: rank for rank, row in enumerate(ROOMS) for room in row}
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").rstrip("."): path
    for path in sorted(PACKAGE.rglob("*.py"))
}


def room(module: str) -> str:
    return module.partition(".")[0]


def type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", ""), getattr(test, "attr", ""))


def executed(body: list[ast.stmt], *, functions: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The import statements that run, with those in functions or without."""
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif isinstance(statement, ast.If) and type_checking(statement.test):
            yield from executed(statement.orelse, functions=functions)
        elif functions or not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            for block in ("body", "orelse", "finalbody"):
                yield from executed(getattr(statement, block, []), functions=functions)
            for handler in getattr(statement, "handlers", []):
                yield from executed(handler.body, functions=functions)


def imports(source: str, *, functions: bool = True) -> set[str]:
    """Full dotted names of the modules that are imported, with those that names are taken from."""
    found = set()
    for statement in executed(ast.parse(source).body, functions=functions):
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
    here = room(module)
    assert here in RANK, f"give {here} a place in ROOMS"
    return [name for name in sorted(own(names)) if room(name) != here and RANK[room(name)] <= RANK[here]]


def with_torch(module: str) -> bool:
    return room(module) in WITH_TORCH or module in WITH_TORCH


@pytest.mark.parametrize("module", [module for module in MODULES if module])
def test_imports_point_downward(module: str) -> None:
    assert upward(module, imports(MODULES[module].read_text())) == []


@pytest.mark.parametrize("module", MODULES)
def test_torch_is_imported_by_what_trains_alone(module: str) -> None:
    names = imports(MODULES[module].read_text(), functions=False)
    if not with_torch(module):
        assert not [name for name in names if name.split(".")[0] == "torch"]
        assert not [name for name in own(names) if with_torch(name)]


def test_every_room_is_there() -> None:
    assert {room(module) for module in MODULES if module} == set(RANK)
    assert sum(map(len, ROOMS)) == len(RANK)
    assert all(name in RANK or name in MODULES for name in WITH_TORCH)


def test_the_rules_can_be_broken() -> None:
    """What the tests above would say of a module with these lines."""
    source = """
from typing import TYPE_CHECKING
import torch.nn
from grokbench.records import provenance
from grokbench.spec import UsageError
if TYPE_CHECKING:
    from grokbench.verdicts.verdict import Verdict
else:
    from grokbench import session
def late():
    from grokbench.cli import main
class Here:
    from grokbench.spec import registry
try:
    from grokbench.report.terminal import text
except ImportError:
    from grokbench.optim.muon import update
"""
    names = imports(source)
    assert "torch.nn" in names
    downward = {"records.provenance", "spec", "spec.registry"}
    assert own(names) == {*downward, "session", "cli.main", "report.terminal", "optim.muon"}
    assert upward("claims.new", names) == ["cli.main", "optim.muon", "report.terminal", "session"]
    assert upward("report.new", names) == ["cli.main"]
    assert upward("cli.new", names) == []
    assert "grokbench.cli.main" not in imports(source, functions=False)


@pytest.mark.parametrize("path", [*PACKAGE.rglob("__init__.py")], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_opens_with_exports_alone(path: Path) -> None:
    """No function or class in an `__init__.py`, but the one that fetches public names when they are asked for."""
    found = [n.name for n in ast.parse(path.read_text()).body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    assert set(found) <= {"__getattr__", "__dir__"}


@pytest.mark.parametrize("folder", ["grokbench", "tests", "benchmarks"])
def test_no_file_is_long(folder: str) -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert lengths
    assert {path: length for path, length in lengths.items() if length > LONGEST} == {}
