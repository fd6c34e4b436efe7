"""One training run: everything that its record depends on, and its digest.

A run is a pure function of its `RunSpec`; two equal specs share one digest, hence one record in the store.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from grokbench.spec import fields, softmax
from grokbench.spec.criterion import GrokCriterion
from grokbench.spec.errors import UsageError, whole
from grokbench.spec.model import ModelSpec, ModuleSpec
from grokbench.spec.optimizer import OptimizerSpec
from grokbench.spec.task import TaskSpec

# Part of every digest. Raise it when a change of the engine changes the numbers that a run produces.
ENGINE = 3


@dataclass(frozen=True)
class RunSpec:
    """One training run: everything that its record depends on, apart from the machine.

    `replica` numbers the run's random stream, from which the split, the initial weights, the batch order and
    the dropout masks come. The stream is the same for every softmax, model and optimizer, which is what pairs
    the arms of a comparison. `batch` is in rows; an epoch is as many full batches as the training rows hold,
    in a new order each time, or the whole training set if it is smaller than a batch. `softmax_source` is the
    fingerprint of a softmax that is a plug-in, and follows from its name where it is not given.
    """

    task: TaskSpec
    softmax: str
    model: ModelSpec | ModuleSpec
    optimizer: OptimizerSpec
    criterion: GrokCriterion
    batch: int
    replica: int
    softmax_source: str | None = None

    def __post_init__(self) -> None:
        if self.softmax_source is None:
            object.__setattr__(self, "softmax", softmax.softmax(self.softmax))
            object.__setattr__(self, "softmax_source", softmax.source(self.softmax))
        whole("batch", self.batch, 1)
        whole("replica", self.replica, 0)

    @property
    def digest(self) -> str:
        """32 hexadecimal characters; equal for equal specs, on every machine."""
        return _digest(self, ENGINE)

    @property
    def transformer(self) -> ModelSpec:
        """The sizes of the built-in transformer, where the model is that."""
        assert isinstance(self.model, ModelSpec), f"{self.model} is no transformer of ours"
        return self.model

    @property
    def key(self) -> int:
        """64-bit key of the run's random stream."""
        stream = {"task": _fields(self.task), "replica": self.replica}
        return int.from_bytes(_hash(stream, 8), "little")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> RunSpec:
        """What `to_json` has written. Raises `UsageError` for anything else, and for a field that is not known here."""
        try:
            return fields.read(cls, json.loads(text), strict=True)
        except UsageError:
            raise
        except (ValueError, TypeError, RecursionError) as error:
            raise UsageError(f"cannot read the run {text:.60}: {error}") from None


@functools.lru_cache(maxsize=1 << 16)  # verdicts ask for the same ones again and again
def _digest(run: RunSpec, engine: int) -> str:
    return _hash({"engine": engine, **_fields(run)}, 16).hex()


# Fields that came later, by their spec, with the values at which digests are as they were before.
_LATER: dict[type, dict[str, Any]] = {
    RunSpec: {"softmax_source": None},
    TaskSpec: {"sizes": None, "table": None},
    ModelSpec: {"norms": True},
    OptimizerSpec: {"seen": None},
}


def _fields(spec: Any) -> dict[str, Any]:
    """The fields of a spec by name, and those of specs in it, without what came later and is as before."""
    found = {field.name: getattr(spec, field.name) for field in dataclasses.fields(spec)}
    for name, before in _LATER.get(type(spec), {}).items():
        if found[name] == before:
            del found[name]
    return {name: _fields(value) if dataclasses.is_dataclass(value) else value for name, value in found.items()}


def _hash(content: dict[str, Any], size: int) -> bytes:
    text = json.dumps(_canonical(content), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=size).digest()


def _canonical(value: Any) -> Any:
    """Equal values written alike: 1.0 and True as 1."""
    if isinstance(value, dict):
        return {key: _canonical(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(v) for v in value]
    return int(value) if isinstance(value, int | float) and value == int(value) else value
