"""Does this optimizer make a model generalise earlier, and can I trust the answer?

The public names, fetched when they are asked for: importing this package imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grokbench.claims.presets import PRESETS as PRESETS
    from grokbench.spec import GrokCriterion as GrokCriterion
    from grokbench.spec import ModelSpec as ModelSpec
    from grokbench.spec import OptimizerSpec as OptimizerSpec
    from grokbench.spec import RunSpec as RunSpec
    from grokbench.spec import TaskSpec as TaskSpec
    from grokbench.spec import UsageError as UsageError
    from grokbench.spec import task as task

_SPECS = ("GrokCriterion", "ModelSpec", "OptimizerSpec", "RunSpec", "TaskSpec", "UsageError", "task")
_PLACES = {"PRESETS": "grokbench.claims.presets", **dict.fromkeys(_SPECS, "grokbench.spec")}
__all__ = ["PRESETS", "GrokCriterion", "ModelSpec", "OptimizerSpec", "RunSpec", "TaskSpec", "UsageError", "task"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'grokbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
