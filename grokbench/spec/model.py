"""A model: the sizes of the built-in transformer, or any module by name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from grokbench.spec import plugins
from grokbench.spec.errors import UsageError, choose, require, whole
from grokbench.spec.plugins import MODEL, Value

DTYPES = ("float32", "float64")

# Matrices whose sides are multiples of 16 begin on a cache line in every slot of a stack. Kernels choose their
# path by alignment, so without this the bits of a run could depend on the slot that it was given.
ALIGNMENT = 16


@dataclass(frozen=True)
class ModelSpec:
    """A decoder-only transformer: width and feed-forward width in units of floats, dropout as a probability.

    `gated` selects the SwiGLU feed-forward, down(silu(gate x) * up x), instead of down(silu(up x)).
    Without `norms` there are no root mean square norms, and no gains.
    """

    width: int = 128
    depth: int = 2
    heads: int = 4
    feed_forward: int = 512
    gated: bool = False
    dropout: float = 0.0
    dtype: str = "float32"
    norms: bool = True

    def __post_init__(self) -> None:
        for field in ("gated", "norms"):
            require(
                isinstance(getattr(self, field), bool), f"{field} must be True or False, not {getattr(self, field)!r}"
            )
        for field in ("width", "depth", "heads", "feed_forward"):
            whole(field, getattr(self, field), 1)
        for field in ("width", "feed_forward"):
            value = getattr(self, field)
            require(value % ALIGNMENT == 0, f"{field} must be a multiple of {ALIGNMENT}, not {value}")
        require(self.width % self.heads == 0, f"{self.heads} heads do not divide width {self.width}")
        head = self.width // self.heads
        require(head % 2 == 0, f"rotary positions need an even width of a head, not {head} = {self.width}/{self.heads}")
        rate = self.dropout
        valid = isinstance(rate, int | float) and not isinstance(rate, bool) and 0 <= rate < 1
        require(valid, f"dropout must lie in [0, 1), not {rate!r}")
        choose("dtype", self.dtype, DTYPES)


@dataclass(frozen=True)
class ModuleSpec:
    """Any `nn.Module` by name, with its settings in it; `parse` makes one.

    `fingerprint` is a hash of a
    plug-in's source, so that a changed model is never answered with the records of the old one.
    """

    name: str
    dtype: str = "float32"
    fingerprint: str | None = None

    def __post_init__(self) -> None:
        choose("dtype", self.dtype, DTYPES)

    def __str__(self) -> str:
        return self.name


TRANSFORMER = "transformer"
MODULES: dict[str, dict[str, Value]] = {"mlp": {"width": 256, "depth": 2, "activation": "relu", "embedded": True}}
"""The built-in models beside the transformer, with their settings by default."""


def parse(text: str, transformer: ModelSpec) -> ModelSpec | ModuleSpec:
    """`name`, `name(key=value, …)` or `package.module:Attribute(key=value, …)`, with `dtype` among the settings.

    transformer: what a bare `transformer` stands for, and what its settings begin with. Raises `UsageError` for
    anything that does not parse, an unknown name or setting, and a plug-in that cannot be imported.
    """
    name, given = plugins.split(MODEL, text)
    plugins.known(MODEL, name, (TRANSFORMER, *MODULES))
    if name == TRANSFORMER:
        sizes: dict[str, Any] = dict(given)
        for key in given:
            choose("setting of transformer", key, tuple(f.name for f in dataclasses.fields(ModelSpec)))
        return dataclasses.replace(transformer, **sizes)
    dtype = given.pop("dtype", "float32")
    if not isinstance(dtype, str):
        raise UsageError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
    if name in MODULES:
        for key in given:
            choose(f"setting of {name}", key, (*MODULES[name], "dtype"))
        return ModuleSpec(plugins.written(name, {**MODULES[name], **given}), dtype)
    plugins.function(MODEL, name)
    return ModuleSpec(plugins.written(name, given), dtype, plugins.fingerprint(MODEL, name))
