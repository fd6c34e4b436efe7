"""What a plug-in is called with where nothing is said, so that a default that is written out changes nothing."""

from __future__ import annotations

import contextlib
import inspect
import io
import math
from collections.abc import Mapping
from typing import Any

from grokbench.spec.fields import frozen
from grokbench.spec.optimizer import RATES
from grokbench.spec.plugins import Value

SIDE = 16  # of the matrix and the vector for which an optimizer is made to read what it then has


def filled(
    attribute: Any, given: Mapping[str, Value], reserved: tuple[str, ...], *, matrices: bool
) -> dict[str, Value]:
    """`given` with the defaults of a plug-in's signature, as far as they can be written down.

    Where a class passes `**kwargs` on to its bases, these are read from the groups that it builds, and only taken if it
    builds the same ones when they are given.
    """
    try:
        parameters = inspect.signature(attribute).parameters
    except (TypeError, ValueError):  # some callables have none that can be read
        return dict(given)
    known = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
    found = {name: value for name, value in known.items() if name not in reserved and _plain(name, value)}
    found |= given
    if inspect.isclass(attribute) and passes_on(parameters):
        found |= _built(attribute, found, matrices)
    return found


def passes_on(parameters: Mapping[str, inspect.Parameter]) -> bool:
    """Whether a signature has `**kwargs`, by whatever name."""
    return any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def inherited(attribute: type) -> set[str]:
    """Names with a default in the signatures of a class and of its bases, as far as each passes `**kwargs` on."""
    names: set[str] = set()
    for base in attribute.__mro__:
        if "__init__" not in vars(base):
            continue
        try:
            parameters = inspect.signature(vars(base)["__init__"]).parameters
        except (TypeError, ValueError):
            break
        names |= {name for name, p in parameters.items() if p.default is not p.empty}
        if not passes_on(parameters):
            break
    return names


def _built(attribute: type, given: dict[str, Value], matrices: bool) -> dict[str, Value]:
    groups = _groups(attribute, given, matrices)
    own = {n: v for n, v in groups.items() if n in inherited(attribute) and n not in given and _plain(n, v)}
    return own if own and _groups(attribute, {**given, **own}, matrices) == groups else {}


def _groups(attribute: type, given: Mapping[str, Value], matrices: bool) -> dict[str, Any]:
    """The settings of the first group of parameters that is made with these; none if that fails."""
    import torch

    parameters = [torch.nn.Parameter(torch.zeros(SIDE, SIDE))]
    parameters += [] if matrices else [torch.nn.Parameter(torch.zeros(SIDE))]
    try:
        with contextlib.redirect_stdout(io.StringIO()), torch.random.fork_rng(devices=[]):
            group: dict[str, Any] = attribute(parameters, **given).param_groups[0]
    except Exception:  # it says so again where it is made to train
        return {}
    return {str(name): value for name, value in group.items() if name != "params" and _plain(str(name), value)}


def _plain(name: str, value: object) -> bool:
    """Whether a default can be written in parentheses and read back as what it was."""
    if isinstance(value, tuple):
        return all(_plain(name, entry) for entry in value)
    if isinstance(value, float | int) and not isinstance(value, bool):
        return math.isfinite(value) and not (name in RATES and value < 0)
    with contextlib.suppress(TypeError):
        return frozen(value) is value and (name not in RATES or value is None)
    return False
