"""Optimizers by name: the built-in ones, entry points, and `package.module:Attribute(lr=…)`. Imports no torch
until a plug-in is named.
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
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from grokbench.spec import OptimizerSpec, UsageError, Value, choose
from grokbench.spec.defaults import filled
from grokbench.spec.fields import frozen
from grokbench.spec.foreign import imported

ENTRY_POINTS = "grokbench.optimizers"

# β = (0.9, 0.98) is stated by Tveit et al. 2025; eps is torch's default.
_ADAMW: dict[str, Value] = {"lr": 1e-3, "weight_decay": 1.0, "betas": (0.9, 0.98), "eps": 1e-8}


class BuiltIn(NamedTuple):
    """defaults: every hyperparameter. matrices: whether the rule takes the hidden matrices alone."""

    defaults: dict[str, Value]
    matrices: bool
    summary: str


BUILT_IN = {
    "adamw": BuiltIn(_ADAMW, False, "Adam with decoupled weight decay"),
    "muon": BuiltIn(
        {
            "lr": 0.02,
            "weight_decay": 1.0,
            "momentum": 0.95,
            "nesterov": True,
            "ns_steps": 5,
            "coefficients": (3.4445, -4.7750, 2.0315),
            "scale": "original",
            "orthogonalize": True,
            "adamw_lr": 1e-3,
            "adamw_weight_decay": None,
            "betas": (0.9, 0.98),
            "eps": 1e-8,
        },
        True,
        "orthogonalised momentum for hidden matrices, AdamW for embedding, head and gains",
    ),
    "sgd": BuiltIn(
        {"lr": 0.1, "weight_decay": 0.0, "momentum": 0.9, "nesterov": False},
        False,
        "stochastic gradient descent with momentum and coupled weight decay",
    ),
}

# What may be done to the gradient before any optimizer sees it, with its settings.
FILTERS: dict[str, dict[str, Value]] = {
    "grokfast": {"alpha": 0.98, "lamb": 2.0},  # Lee et al. 2024, arXiv 2405.20233
    "orthograd": {},  # ⊥Grad of Prieto et al. 2025, arXiv 2501.04697
}

SCALES = ("original", "match_rms_adamw", "spectral", "none")

# Words in the parentheses that are ours and never reach a plug-in. The last two set AdamW for the parameters that a
# plug-in for matrices leaves over; without the last they decay at the plug-in's `weight_decay`, if it has one.
RESERVED = ("warmup", "filter", "parameters", "adamw_lr", "adamw_weight_decay")


def _positive(value: Any) -> bool:
    return _number(value) and value >= 0


def _unit(value: Any) -> bool:
    return _number(value) and 0 <= value < 1


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_VALID: dict[str, tuple[Callable[[Any], bool], str]] = {
    "lr": (_number, "a number"),
    "adamw_lr": (_number, "a number"),
    "weight_decay": (_number, "a number"),
    "adamw_weight_decay": (lambda v: v is None or _number(v), "a number"),
    "eps": (_positive, "a number that is not negative"),
    "momentum": (_unit, "a number in [0, 1)"),
    "betas": (lambda v: isinstance(v, tuple) and len(v) == 2 and all(map(_unit, v)), "a pair of numbers in [0, 1)"),
    "coefficients": (lambda v: isinstance(v, tuple) and len(v) == 3 and all(map(_number, v)), "three numbers"),
    "ns_steps": (lambda v: type(v) is int and v >= 0, "a whole number"),
    "nesterov": (lambda v: isinstance(v, bool), "True or False"),
    "orthogonalize": (lambda v: isinstance(v, bool), "True or False"),
    "scale": (lambda v: v in SCALES, f"one of {', '.join(SCALES)}"),
}


def _check(name: str, key: str, value: Any) -> None:
    valid, wanted = _VALID[key]
    if not valid(value):
        raise UsageError(f"{name}: {key} must be {wanted}, not {value!r}")


def names() -> tuple[str, ...]:
    """The built-in optimizers and those that installed packages have registered."""
    return (*BUILT_IN, *(e.name for e in importlib.metadata.entry_points(group=ENTRY_POINTS)))


def parse(text: str, presets: Mapping[str, str] | None = None) -> OptimizerSpec:
    """`name`, `name(key=value, …)` or `package.module:Attribute(key=value, …)` as a checked `OptimizerSpec`.

    `presets` maps names to such texts, whose values come before the defaults of a built-in optimizer. Raises
    `UsageError` for anything that does not parse, an unknown name or hyperparameter, and a value out of range.
    """
    name, given = split(text)
    if presets and name in presets:
        given = {**split(presets[name])[1], **given}
    warmup = given.pop("warmup", 0)
    filtered = _filter(given.pop("filter", None))
    if name in BUILT_IN:
        defaults = BUILT_IN[name].defaults
        for key, value in given.items():
            choose(f"hyperparameter of {name}", key, (*defaults, "warmup", "filter"))
            _check(name, key, value)
        return OptimizerSpec(name, tuple({**defaults, **given}.items()), warmup, filtered)  # type: ignore[arg-type]
    if ":" not in name:
        choose("optimizer", name, (*names(), "package.module:Attribute"))
    attribute = load(name)
    parameters = given.pop("parameters", getattr(attribute, "grokbench_parameters", "all"))
    choose("kind of parameters", str(parameters), ("all", "matrices"))
    matrices = parameters == "matrices"
    own = {key: value for key, value in given.items() if key not in RESERVED}
    given |= filled(attribute, own, RESERVED, matrices=matrices)
    if matrices:
        _check(name, "adamw_lr", given.setdefault("adamw_lr", _ADAMW["lr"]))
        if given.get("adamw_weight_decay") is None:
            given["adamw_weight_decay"] = given.get("weight_decay") or 0.0
        _check(name, "adamw_weight_decay", given["adamw_weight_decay"])
    for key in ("adamw_lr", "adamw_weight_decay"):
        if key in given and not matrices:
            raise UsageError(f"{name}: {key} is for plug-ins with parameters='matrices'")
    hyperparameters, fingerprint = tuple(given.items()), _fingerprint(target(name).partition(":")[0])
    return OptimizerSpec(name, hyperparameters, warmup, filtered, matrices, fingerprint)  # type: ignore[arg-type]


def _filter(text: Value) -> str | None:
    """A gradient filter with all of its settings. Raises `UsageError` for an unknown one."""
    if text is None:
        return None
    name, given = split(str(text))
    defaults = FILTERS[choose("gradient filter", name, tuple(FILTERS))]
    for key, value in given.items():
        choose(f"setting of {name}", key, tuple(defaults))
        if not _number(value):
            raise UsageError(f"{name}: {key} must be a number, not {value!r}")
    if not 0 <= float({**defaults, **given}.get("alpha", 0)) < 1:  # type: ignore[arg-type]
        raise UsageError(f"{name}: alpha must be a number in [0, 1), not {given['alpha']!r}")
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in {**defaults, **given}.items())})"


def split(text: str) -> tuple[str, dict[str, Value]]:
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
            f"cannot read the optimizer {text!r}: write it as name or name(key=value, …), with literal values"
        ) from None
    return name, given


def target(name: str) -> str:
    """`package.module:Attribute` of a plug-in."""
    if ":" in name:
        return name
    return next(e.value for e in importlib.metadata.entry_points(group=ENTRY_POINTS) if e.name == name)


def load(name: str) -> Any:
    """The optimizer class or factory that a plug-in's name stands for. Raises `UsageError` if there is none."""
    module_name, _, attribute = target(name).partition(":")
    value: Any = imported(module_name, f"the optimizer {name!r}")
    try:
        for part in attribute.split("."):
            value = getattr(value, part)
    except Exception as error:  # a module's `__getattr__` can raise anything
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"cannot import the optimizer {name!r}: {reason}") from error
    if not callable(value):
        raise UsageError(f"the optimizer {name!r} is neither a class nor a function: {value!r}")
    return value


@functools.cache
def _fingerprint(name: str) -> str:
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
        for node in ast.walk(ast.parse(path.read_bytes())):
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
