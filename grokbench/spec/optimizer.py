"""An optimizer by name, with every hyperparameter."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from grokbench.spec.errors import UsageError, require, whole
from grokbench.spec.fields import frozen
from grokbench.spec.plugins import Value

# What may differ between the replicas of one stack. Negative ones are refused, whosever they are.
RATES = ("lr", "weight_decay", "adamw_lr", "adamw_weight_decay")


def _finite(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_finite, value))
    try:
        return not isinstance(value, int | float) or math.isfinite(value)
    except OverflowError:  # a whole number beyond the largest float
        return False


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer by name, with every hyperparameter that it is called with.

    Make one with `grokbench.spec.registry.parse`, which checks the names and fills in the defaults. Hyperparameters
    are kept in the order of their names, so that equal settings have one digest, however they were given. `warmup`
    is the number of steps over which the rate rises linearly. `filter` is what is done to the gradient before, as
    `name(key=value, …)`. `matrices_only` marks a plug-in that takes the hidden matrices and leaves the rest to AdamW.
    `fingerprint` is a hash of a plug-in's source, so that a changed optimizer is never answered with the records of
    the old one. `seen` is a hash of what a gate has seen a plug-in do, which its sources may not tell.
    """

    name: str
    hyperparameters: tuple[tuple[str, Value], ...] = ()
    warmup: int = 0
    filter: str | None = None
    matrices_only: bool = False
    fingerprint: str | None = None
    seen: str | None = None

    def __post_init__(self) -> None:
        whole("warmup", self.warmup, 0)
        given = dict(self.hyperparameters)
        require(len(given) == len(self.hyperparameters), f"{self.name}: a hyperparameter is given twice")
        try:
            ordered = tuple((name, frozen(value)) for name, value in sorted(given.items()))
        except TypeError as error:
            kinds = "numbers, texts, truths, None and tuples of them"
            raise UsageError(f"{self.name}: hyperparameters are {kinds}, not {error.args[0]!r}") from None
        object.__setattr__(self, "hyperparameters", ordered)  # equal settings are equal, in whatever order
        for name, value in ordered:
            valid, rule = _finite(value), "finite"
            if name in RATES and value is not None:
                valid, rule = valid and isinstance(value, int | float) and value >= 0, "finite and not negative"
            require(valid, f"{self.name}: {name} must be {rule}, not {value!r}")

    def __getitem__(self, name: str) -> Any:
        return dict(self.hyperparameters)[name]

    def having(self, **values: Any) -> OptimizerSpec:
        """The same with other values of hyperparameters. Raises `UsageError` for one that no optimizer takes."""
        return dataclasses.replace(self, hyperparameters=tuple({**dict(self.hyperparameters), **values}.items()))

    @property
    def settings(self) -> list[str]:
        """What stands in the parentheses, one `name=value` each."""
        shown = [f"{name}={value!r}" for name, value in self.hyperparameters]
        shown += [f"warmup={self.warmup}"] if self.warmup else []
        shown += [f"filter={self.filter!r}"] if self.filter else []
        shown += ["parameters='matrices'"] if self.matrices_only else []
        return shown

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.settings)})"
