"""Optimizers that are given as objects: a class or a function of a notebook, of a script or inside a function.

What another process can import goes by its name, as in `package.module:Attribute`. Anything else is written down as a
text: its source, the imports that it needs, and the helpers and constants that it uses, as they are now. The hash of
that text is its fingerprint, and worker processes build the object from it.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import inspect
import linecache
import symtable
import sys
import sysconfig
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from grokbench.spec import plugins
from grokbench.spec.errors import UsageError
from grokbench.spec.optimizer import OptimizerSpec

# Annotations are not evaluated, so what they name need not be there.
_HEAD = "from __future__ import annotations\n"
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


class Given(NamedTuple):
    """An object, and the text that makes one like it."""

    value: Any
    text: str

    @property
    def fingerprint(self) -> str:
        return hashlib.blake2b(self.text.encode(), digest_size=16).hexdigest()


_objects: dict[str, Given] = {}  # by `module:Attribute`, the latest of each name


def name_of(value: Any) -> str:
    """The name by which an optimizer class or a function that makes one is known from here on.

    Raises `UsageError` if its source cannot be found, or if it uses something that cannot be written down.
    """
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        raise UsageError(
            f"an optimizer is a text, a class or a function, not {value!r:.60}; for settings write "
            "grokbench.optimizer(Class, lr=…)"
        )
    name = f"{value.__module__}:{value.__qualname__}"
    if value.__module__ != "__main__" and _imported(value):
        return name
    name = f"{value.__module__}:{value.__qualname__.rpartition('<locals>.')[2]}"
    text = _Writer().written(value)
    _built(name, text)  # what a worker does later; here it can be said what is wrong
    _objects[name] = Given(value, text)
    return name


def _imported(value: Any) -> bool:
    """Whether importing gives this very object."""
    try:
        found: Any = importlib.import_module(value.__module__)
        for part in value.__qualname__.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return False
    return found is value


def find(name: str) -> Given | None:
    """The object that was given and is known by this name."""
    return _objects.get(name)


def check(spec: OptimizerSpec) -> None:
    """Raise `UsageError` if the object of this name has been given anew, with another source, since."""
    found = find(spec.name)
    if found and found.fingerprint != spec.fingerprint:
        raise UsageError(f"{spec.name} has been defined anew since {spec} was made: make that anew, too")


def texts() -> dict[str, str]:
    """All objects that were given, for `receive` in another process."""
    return {name: given.text for name, given in _objects.items()}


def receive(written: Mapping[str, str]) -> None:
    """Know the objects of another process, too."""
    for name, text in written.items():
        _objects[name] = Given(_built(name, text), text)


def _built(name: str, text: str) -> Any:
    """The object that a text makes. Raises `UsageError` if it does not."""
    space: dict[str, Any] = {"__name__": "grokbench_given"}
    try:
        exec(compile(text, f"<{name}>", "exec"), space)
    except Exception as error:
        raise UsageError(f"cannot make {name} from its source: {type(error).__name__}: {error}") from error
    return space[name.rpartition(":")[2].rpartition(".")[2]]


class _Writer:
    """Writes one object down, after everything that it uses."""

    def __init__(self) -> None:
        self._done: dict[str, Any] = {}
        self._lines: list[str] = []

    def written(self, value: Any) -> str:
        self._define(value.__name__, value, value.__name__)
        return _HEAD + "".join(self._lines)

    def _define(self, name: str, value: Any, user: str) -> None:
        """Give `value` the name that its user has for it."""
        if name in self._done:
            if self._done[name] is not value:
                raise UsageError(f"{user} and what it uses mean different things by {name!r}: rename one of them")
            return
        self._done[name] = value
        if isinstance(value, types.ModuleType):
            self._lines.append(f"import {value.__name__} as {name}\n" + _origin(value))
        elif inspect.isclass(value) or inspect.isfunction(value):
            if value.__module__ == "__main__" or not _imported(value):
                self._source(name, value)
            else:
                self._import(name, value.__module__, value.__qualname__)
        elif _plain(value):
            self._lines.append(f"{name} = {value!r}\n")
        elif place := _home(name, value):
            self._import(name, *place)
        else:
            raise UsageError(
                f"{user} uses {name!r}, a {type(value).__name__}, which cannot be written down for another process: "
                "make it a parameter or a plain constant, or put all of it into a file of its own"
            )

    def _import(self, name: str, module: str, attribute: str) -> None:
        first, _, rest = attribute.partition(".")
        text = f"from {module} import {first} as {name}\n"
        if rest:
            text += f"{name} = {name}.{rest}\n"
        self._lines.append(text + _origin(sys.modules[module]))

    def _source(self, name: str, value: Any) -> None:
        source = textwrap.dedent(_source_of(value))
        for used in dict.fromkeys(_globals(symtable.symtable(_HEAD + source, value.__name__, "exec"))):
            if used == value.__name__ or used in ("__class__", "annotations"):
                continue
            known = _known(value)
            if used in known:
                self._define(used, known[used], value.__name__)
            elif not hasattr(builtins, used):
                raise UsageError(f"{value.__name__} uses {used!r}, which is defined nowhere")
        self._lines.append(source if source.endswith("\n") else source + "\n")
        if name != value.__name__:
            self._lines.append(f"{name} = {value.__name__}\n")


def _origin(module: types.ModuleType) -> str:
    """A comment that changes with the sources of a module that is being worked on; nothing for installed ones."""
    file = getattr(module, "__file__", None)
    places = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    if file is None or any(Path(file).is_relative_to(place) for place in places):
        return ""
    return f"# {plugins.fingerprint_of(module.__name__)}\n"


def _plain(value: Any) -> bool:
    """Whether it is written as it is read."""
    if isinstance(value, tuple | list | set | frozenset):
        return type(value) in (tuple, list) and all(map(_plain, value))
    if isinstance(value, dict):
        return type(value) is dict and all(_plain(k) and _plain(v) for k, v in value.items())
    return type(value) in _PLAIN and value == value and value not in (float("inf"), float("-inf"))


def _home(name: str, value: Any) -> tuple[str, str] | None:
    """The module and the name there of a value that can be imported, such as `math.sqrt` or `torch.float32`."""
    module, _, attribute = repr(value).rpartition(".")
    for place, called in ((getattr(value, "__module__", None), name), (module, attribute)):
        found = sys.modules.get(place) if isinstance(place, str) and place != "__main__" else None
        if found is not None and getattr(found, called, None) is value:
            return found.__name__, called
    return None


def _known(value: Any) -> dict[str, Any]:
    """What the names in the source of a class or function mean: those of its module, and of functions around it."""
    module = sys.modules.get(value.__module__)
    known: dict[str, Any] = dict(vars(module)) if module else {}
    for function in _functions(value):
        known.update(function.__globals__)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                known[name] = cell.cell_contents
            except ValueError:  # not set yet
                continue
    return known


def _functions(value: Any) -> Iterator[types.FunctionType]:
    """A function itself, or those in the body of a class."""
    if isinstance(value, types.FunctionType):
        inner = inspect.unwrap(value)
        yield from [inner] if isinstance(inner, types.FunctionType) else []
        return
    for member in vars(value).values():
        inner = getattr(member, "fget", None) or getattr(member, "__func__", member)
        inner = inspect.unwrap(inner) if callable(inner) else inner
        if isinstance(inner, types.FunctionType) and inner.__qualname__.startswith(f"{value.__qualname__}."):
            yield inner


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """Names that a source takes from outside."""
    for symbol in table.get_symbols():
        outside = table.get_type() == "module" and not symbol.is_assigned() and not symbol.is_imported()
        if symbol.is_referenced() and (outside or (table.get_type() != "module" and symbol.is_global())):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)


def _source_of(value: Any) -> str:
    """The source of a class or function, of a notebook's cell too. Raises `UsageError` if there is none."""
    for function in _functions(value):
        lines = linecache.getlines(function.__code__.co_filename, function.__globals__)
        found = _statement("".join(lines), value, function.__code__.co_firstlineno)
        if found:
            return found
    raise UsageError(
        f"the source of {value.__name__} cannot be found: define it in a file or in a notebook, with its own __init__ "
        "or step"
    )


def _statement(source: str, value: Any, line: int) -> str | None:
    """The definition of this name around or at a line, with its decorators."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    kinds: tuple[type[ast.AST], ...] = (ast.ClassDef,) if inspect.isclass(value) else (ast.FunctionDef,)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and getattr(node, "name", "") == value.__name__:
            assert isinstance(node, ast.ClassDef | ast.FunctionDef)
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first <= line <= (node.end_lineno or line):
                return "".join(source.splitlines(keepends=True)[first - 1 : node.end_lineno])
    return None
