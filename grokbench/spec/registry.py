"""Optimizers by name: the built-in ones, with their settings, and plug-ins. Imports no torch until one is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from grokbench.spec import OptimizerSpec, UsageError, Value, choose, plugins
from grokbench.spec import given as objects
from grokbench.spec.defaults import filled
from grokbench.spec.plugins import OPTIMIZER

Named = str | OptimizerSpec | Callable[..., Any]
"""A text, a specification, or a class or function."""

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
    return (*BUILT_IN, *OPTIMIZER.names())


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
    attribute = load(plugins.known(OPTIMIZER, name, BUILT_IN))
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
    hyperparameters = tuple(given.items())
    return OptimizerSpec(name, hyperparameters, warmup, filtered, matrices, _identity(name))  # type: ignore[arg-type]


def text(optimizer: Named) -> str:
    """The text that stands for an optimizer, to be parsed. Raises `UsageError` for what is none."""
    if isinstance(optimizer, OptimizerSpec):
        objects.check(optimizer)
        return str(optimizer)
    return optimizer if isinstance(optimizer, str) else objects.name_of(optimizer)


def optimizer(named: Named, **settings: Value) -> OptimizerSpec:
    """An optimizer with settings: `optimizer("muon", lr=0.02)`, or `optimizer(Mine, lr=0.02)` for a class of your own.

    `warmup`, `filter` and `parameters` are settings, too, as in a text. Raises `UsageError` for a setting that it does
    not take.
    """
    name, given = split(text(named))
    every = {**given, **settings}
    return parse(f"{name}({', '.join(f'{key}={value!r}' for key, value in every.items())})")


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
    return plugins.split(OPTIMIZER, text)


def target(name: str) -> str:
    """`package.module:Attribute` of a plug-in."""
    return plugins.target(OPTIMIZER, name)


def load(name: str) -> Any:
    """The optimizer class or factory that a plug-in's name stands for. Raises `UsageError` if there is none."""
    if found := objects.find(name):
        return found.value
    return plugins.function(OPTIMIZER, name)


def _identity(name: str) -> str:
    """The fingerprint of what a plug-in's name stands for now."""
    found = objects.find(name)
    return found.fingerprint if found else plugins.fingerprint(OPTIMIZER, name)
