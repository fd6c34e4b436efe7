"""Plug-ins: `name`, `name(key=value, …)` or `package.module:Attribute(key=value, …)`, one grammar for every kind.

A plain name is built in, or an entry point of the kind's group that an installed package has registered. Nothing is
imported until a plug-in is asked for.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib
import importlib.metadata
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from grokbench.spec.errors import UsageError, choose, out_of_memory
from grokbench.spec.fields import frozen
from grokbench.spec.foreign import imported, no_exit

Scalar = float | int | bool | str | None
Value = Scalar | tuple[Any, ...]


class Kind(NamedTuple):
    """What is plugged in: its name in messages, and what it has to be, in words."""

    name: str
    what: str

    @property
    def group(self) -> str:
        """The entry points that installed packages register theirs in."""
        return f"grokbench.{self.name}{'es' if self.name.endswith('x') else 's'}"

    def names(self) -> tuple[str, ...]:
        """Those that installed packages have registered."""
        return tuple(e.name for e in importlib.metadata.entry_points(group=self.group))


OPTIMIZER = Kind("optimizer", "a class nor a function")
TASK = Kind("task", "a class nor a function")
SOFTMAX = Kind("softmax", "a class nor a function, nor has it `probabilities` and `loss`")
MODEL = Kind("model", "a class nor a function")
CLAIM = Kind("claim", "a function nor a list of claims")
PRESET = Kind("preset", "a function nor a Preset")


def split(kind: Kind, text: str) -> tuple[str, dict[str, Value]]:
    """The name and the settings in its parentheses. Raises `UsageError` for what is no call with literal values."""
    name, bracket, rest = text.strip().partition("(")
    name = name.strip()
    try:
        call = ast.parse(f"f({rest}" if bracket else "f()", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args or not name:
            raise ValueError
        given = {str(k.arg): frozen(ast.literal_eval(k.value)) for k in call.keywords if k.arg}
        if len(given) != len(call.keywords):
            raise ValueError
    except (SyntaxError, ValueError, TypeError):
        raise UsageError(
            f"cannot read the {kind.name} {text!r}: write it as name or name(key=value, …), with literal values"
        ) from None
    return name, given


def written(name: str, given: Mapping[str, Value]) -> str:
    """The one way to write a name with these settings."""
    settings = ", ".join(f"{key}={value!r}" for key, value in sorted(given.items()))
    return f"{name}({settings})" if settings else name


def known(kind: Kind, name: str, built_in: Iterable[str]) -> str:
    """The name, if there is such a thing or it says where to import it from. Raises `UsageError` with the choices."""
    own = tuple(built_in)
    if ":" not in name and name not in own:  # installed packages are read only for what is not built in
        choose(kind.name, name, (*own, *kind.names(), "package.module:Attribute"))
    return name


def target(kind: Kind, name: str) -> str:
    """`package.module:Attribute` of a plug-in."""
    if ":" in name:
        return name
    return next(e.value for e in importlib.metadata.entry_points(group=kind.group) if e.name == name)


def load(kind: Kind, name: str) -> Any:
    """What a plug-in's name stands for. Raises `UsageError` if it cannot be imported."""
    module_name, _, attribute = target(kind, name).partition(":")
    value: Any = imported(module_name, f"the {kind.name} {name!r}")
    try:
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as error:  # a module's `__getattr__` can raise anything
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"cannot import the {kind.name} {name!r}: {reason}") from error
    return value


def function(kind: Kind, name: str) -> Any:
    """The class or function that a plug-in's name stands for. Raises `UsageError` if there is none."""
    value = load(kind, name)
    if not callable(value):
        raise UsageError(f"the {kind.name} {name!r} is neither {kind.what}: {value!r}")
    return value


def fingerprint(kind: Kind, name: str) -> str:
    """A hash of a plug-in's sources, so that a changed one is never answered with the records of the old one."""
    return fingerprint_of(target(kind, name).partition(":")[0])


@contextmanager
def blamed(kind: Kind, name: str, when: str) -> Iterator[None]:
    """Run foreign code; what it raises, an attempt to end the process included, is a `UsageError` with its place."""
    try:
        with no_exit():
            yield
    except (Exception, SystemExit) as error:
        if isinstance(error, UsageError) or out_of_memory(error):
            raise
        what = f"{type(error).__name__}: {error}{place(error)}"
        raise UsageError(f"the {kind.name} {name} {when}: {what}") from error


def place(error: BaseException) -> str:
    """The last line outside of torch, numpy and grokbench that led to an error, if there is one."""
    ours = [str(Path(__file__).parents[1])]
    for package in ("torch", "numpy"):
        if file := getattr(sys.modules.get(package), "__file__", None):
            ours.append(str(Path(file).parent))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(tuple(ours))]
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


@functools.cache
def fingerprint_of(name: str) -> str:
    """Of a module: version of the installed distribution and a hash of its files, or of the sources if there is none.

    The sources are those of the top-level package, or of the one file and of what it imports from its own folder. All
    plug-ins of a module have one, so that they are read once.
    """
    module = importlib.import_module(name)
    top = importlib.import_module(module.__name__.partition(".")[0])
    file = getattr(top, "__file__", None) or getattr(module, "__file__", None)
    if file is None:
        return "built into Python"
    origin = Path(file)
    installed = {Path(sysconfig.get_path(kind)) for kind in ("purelib", "platlib")}
    if any(origin.is_relative_to(place) for place in installed):
        owners = importlib.metadata.packages_distributions().get(top.__name__, [])
        if owners:
            return f"{owners[0]}=={importlib.metadata.version(owners[0])} {_installed(owners[0])}"
    sources = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else sorted(_beside(origin))
    digest = hashlib.blake2b(digest_size=16)
    for path in sources:
        content = path.read_bytes()
        digest.update(f"{os.path.relpath(path, origin.parent)} {len(content)} ".encode() + content)
    return digest.hexdigest()


def _installed(distribution: str) -> str:
    """A hash of the list of files that an installer leaves, which has a hash of each."""
    listed = importlib.metadata.distribution(distribution).read_text("RECORD") or ""
    return hashlib.blake2b(listed.encode(), digest_size=8).hexdigest()


def _beside(origin: Path) -> set[Path]:
    """A source file, and all those below its folder that it imports, directly or not."""
    found, new = set[Path](), {origin}
    while new:
        path = new.pop()
        found.add(path)
        for node in _nodes(path):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = f"{node.module}." if node.module else ""
                names = [base + alias.name for alias in node.names]
            for name in names:
                for root in {origin.parent, path.parent, *_roots(origin)}:
                    new |= _files(root, name)
        new -= found
    return found


def _nodes(path: Path) -> Iterable[ast.AST]:
    """The syntax of a source file; nothing of what is none, such as a compiled module."""
    try:
        return ast.walk(ast.parse(path.read_bytes()))
    except (SyntaxError, ValueError):
        return ()


def _roots(origin: Path) -> list[Path]:
    """The folders above that this file's module name may begin in."""
    return [folder for folder in origin.parents[:4] if str(folder) in sys.path]


def _files(root: Path, name: str) -> set[Path]:
    """The sources that a dotted name may stand for, from the whole to its first part, below a folder."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        place = root.joinpath(*parts[:n])
        if place.with_suffix(".py").is_file():
            return {place.with_suffix(".py")}
        if (place / "__init__.py").is_file():
            return set(place.rglob("*.py"))
    return set()
