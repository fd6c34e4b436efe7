"""A record in text and bytes: the one codec of the store, of files of records and of baselines.

What is written has its fields' names beside it, so that a later version can add some: those that are unknown are left
out, those that are missing are None or NaN, as their types say. Torch-free.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from grokbench.records.grok import Diagnostics, GrokTime, Trace
from grokbench.records.provenance import Provenance
from grokbench.spec import fields

TIME = ("outcome", "epochs", "fit", "first", "sustained", "below")
DIAGNOSTICS = tuple(Diagnostics.__dataclass_fields__)
# Before there were names, the state of a run was a list of these.
_FIRST_DIAGNOSTICS = (
    "epoch", "spectral_norm", "effective_rank", "weight_norm", "collapsed", "update_hidden", "update_rest",
)  # fmt: skip
# The arrays of a `Trace`, in order, little-endian.
_CURVES = ("<i4", "<f8", "<f8", "<f4", "<f4")
NO_CURVES = Trace(*(np.zeros(0, kind) for kind in _CURVES))


def time_fields(time: GrokTime) -> dict[str, Any]:
    """The fields of a grok time as JSON has them."""
    return {**vars(time), "outcome": time.outcome.value}


def grok_time(content: Mapping[str, Any]) -> GrokTime:
    """A grok time from its fields. Raises `ValueError` if they are none."""
    return fields.read(GrokTime, content)


def write_diagnostics(states: Sequence[Diagnostics]) -> str:
    return json.dumps([vars(state) for state in states])


def diagnostics(content: Sequence[Any], names: Sequence[str] = _FIRST_DIAGNOSTICS) -> tuple[Diagnostics, ...]:
    """States from their fields, or from lists of the fields that are named. Raises `ValueError` if they are none."""
    if not isinstance(content, list):
        raise ValueError(f"diagnostics are a list, not {content!r:.60}")
    return tuple(
        fields.read(Diagnostics, dict(zip(names, state, strict=True)) if isinstance(state, list) else state)
        for state in content
    )


def read_diagnostics(text: str) -> tuple[Diagnostics, ...]:
    """What `write_diagnostics` has written, now or when it wrote no names."""
    return diagnostics(json.loads(text))


def write_provenance(origin: Provenance) -> str:
    return json.dumps(origin.as_dict(), sort_keys=True)


def provenance(content: object) -> Provenance:
    """A provenance from its fields. Raises `ValueError` if they are none."""
    return fields.read(Provenance, content)


def pack(trace: Trace) -> bytes:
    arrays = zip(vars(trace).values(), _CURVES, strict=True)
    return zlib.compress(b"".join(np.asarray(array, kind).tobytes() for array, kind in arrays), 9)


def unpack(blob: bytes) -> Trace:
    """What `pack` has written. Raises `ValueError` if it is damaged."""
    try:
        content = zlib.decompress(blob)
    except (zlib.error, TypeError) as error:
        raise ValueError(f"curves cannot be unpacked: {error}") from None
    widths = [np.dtype(kind).itemsize for kind in _CURVES]
    count, rest = divmod(len(content), sum(widths))
    if rest:
        raise ValueError(f"curves of {len(content)} bytes are cut off")
    start, arrays = 0, []
    for kind, width in zip(_CURVES, widths, strict=True):
        arrays.append(np.frombuffer(content, kind, count, start))
        start += count * width
    return Trace(*arrays)
