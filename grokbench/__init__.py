"""Does this optimizer make a model generalise earlier, and can I trust the answer?

The public names, fetched when they are asked for: importing this package imports neither torch nor numpy. The page
`grokbench guide python` describes each of them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grokbench.api import check as check
    from grokbench.api import compare as compare
    from grokbench.api import gate as gate
    from grokbench.api import judge as judge
    from grokbench.api import preset as preset
    from grokbench.api import race as race
    from grokbench.api import train as train
    from grokbench.claims.claim import Claim as Claim
    from grokbench.claims.presets import Preset as Preset
    from grokbench.records.store import Record as Record
    from grokbench.records.store import Store as Store
    from grokbench.report.answers import Answer as Answer
    from grokbench.spec import GrokCriterion as GrokCriterion
    from grokbench.spec import MachineError as MachineError
    from grokbench.spec import ModelSpec as ModelSpec
    from grokbench.spec import OptimizerSpec as OptimizerSpec
    from grokbench.spec import RunSpec as RunSpec
    from grokbench.spec import TaskSpec as TaskSpec
    from grokbench.spec import UsageError as UsageError
    from grokbench.spec import task as task
    from grokbench.spec.registry import optimizer as optimizer
    from grokbench.verdicts.curves import times as times
    from grokbench.verdicts.verdict import Status as Status
    from grokbench.verdicts.verdict import Verdict as Verdict

_PLACES = {
    **dict.fromkeys(("check", "compare", "gate", "judge", "preset", "race", "train"), "grokbench.api"),
    "Answer": "grokbench.report.answers",
    "Claim": "grokbench.claims.claim",
    "GrokCriterion": "grokbench.spec",
    "MachineError": "grokbench.spec",
    "ModelSpec": "grokbench.spec",
    "OptimizerSpec": "grokbench.spec",
    "Preset": "grokbench.claims.presets",
    "Record": "grokbench.records.store",
    "RunSpec": "grokbench.spec",
    "Status": "grokbench.verdicts.verdict",
    "Store": "grokbench.records.store",
    "TaskSpec": "grokbench.spec",
    "UsageError": "grokbench.spec",
    "Verdict": "grokbench.verdicts.verdict",
    "optimizer": "grokbench.spec.registry",
    "task": "grokbench.spec",
    "times": "grokbench.verdicts.curves",
}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'grokbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})
