"""Dataclasses from the JSON of their fields, with every value held against its field's type."""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

T = TypeVar("T")


def read(kind: type[T], content: object, *, strict: bool = False) -> T:
    """A dataclass from its fields by name, as `dataclasses.asdict` and JSON give them.

    A missing field has its default, else None or NaN, as its type allows. Unknown fields, of a later version, are left
    out, or refused if `strict`. Raises `ValueError` for a field that is needed and missing, and for a wrong type.
    """
    if not isinstance(content, Mapping):
        raise ValueError(f"{kind.__name__} has fields by name, not {content!r:.60}")
    hints = _hints(typing.cast(type, kind))
    if strict and (unknown := sorted(set(content) - set(hints))):
        raise ValueError(f"{kind.__name__} has no {', '.join(unknown)}: its fields are {', '.join(hints)}")
    values = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in content:
            values[field.name] = _value(f"{kind.__name__}.{field.name}", hints[field.name], content[field.name], strict)
        elif field.default is dataclasses.MISSING:
            values[field.name] = _missing(f"{kind.__name__}.{field.name}", hints[field.name])
    return kind(**values)


def frozen(value: Any) -> Any:
    """Lists as tuples, through and through. Raises `TypeError` for what is no number, text, truth, None or list."""
    if isinstance(value, list | tuple):
        return tuple(frozen(v) for v in value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise TypeError(value)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if name in kind.__dataclass_fields__}  # type: ignore[attr-defined]


def _kinds(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _fits(kind: Any, value: Any) -> bool:
    """Whether this one of several dataclasses has all of these fields."""
    return isinstance(value, Mapping) and set(value) <= set(_hints(kind))


def _missing(name: str, hint: Any) -> Any:
    kinds = _kinds(hint)
    if types.NoneType in kinds:
        return None
    if float in kinds:
        return math.nan
    raise ValueError(f"{name} is missing")


def _value(name: str, hint: Any, value: Any, strict: bool) -> Any:
    for kind in _kinds(hint):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if kind is float and number:
            return float(value)
        if kind is int and number and float(value).is_integer():
            return int(value)
        if kind in (str, bool, types.NoneType) and type(value) is kind:
            return value
        if typing.get_origin(kind) is tuple and isinstance(value, list | tuple):
            return frozen(value)
        if isinstance(kind, type) and issubclass(kind, Enum):
            return kind(value)
        if dataclasses.is_dataclass(kind) and (len(_kinds(hint)) == 1 or _fits(kind, value)):
            return read(typing.cast(type, kind), value, strict=strict)
    raise ValueError(f"{name} cannot be {value!r:.60}")
