"""A softmax by name."""

from __future__ import annotations

from grokbench.spec import plugins
from grokbench.spec.errors import require
from grokbench.spec.plugins import SOFTMAX

SOFTMAXES = ("softmax", "stablemax", "sparsemax")


def softmax(text: str) -> str:
    """The one way to write a softmax: `name` or `package.module:Attribute(key=value, …)`, with its settings in order.

    Raises `UsageError` for anything that does not parse and for an unknown name.
    """
    name, given = plugins.split(SOFTMAX, text)
    plugins.known(SOFTMAX, name, SOFTMAXES)
    require(name not in SOFTMAXES or not given, f"{name} takes no settings, and not {', '.join(given)}")
    return plugins.written(name, given)


def source(text: str) -> str | None:
    """The fingerprint of a plug-in's sources, None for a built-in one. Raises `UsageError` if there is none."""
    name = plugins.split(SOFTMAX, text)[0]
    if name in SOFTMAXES:
        return None
    plugins.load(SOFTMAX, name)
    return plugins.fingerprint(SOFTMAX, name)
