"""TensorBoard's event files, by the package tensorboard, which is an extra."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from grokbench.spec import UsageError

EVENTS = "events.out.tfevents"


def scalars(path: Path, metrics: Sequence[str]) -> Iterator[tuple[str, dict[str, dict[float, float]]]]:
    """Every run under a folder, or of one file: its name and, by metric, values by step. A run is a folder of events.

    Raises `UsageError` where the package is missing, or a metric.
    """
    try:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        from tensorboard.util.tensor_util import make_ndarray
    except ImportError:
        raise UsageError(
            "TensorBoard's event files need the package tensorboard: pip install 'grokbench[tensorboard]'"
        ) from None
    folders = sorted({file.parent for file in path.rglob(f"{EVENTS}*")}) if path.is_dir() else [path]
    if not folders:
        raise UsageError(f"{path} holds no event files of TensorBoard ({EVENTS}…)")
    for folder in folders:
        loaded = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()
        tags = loaded.Tags()
        found: dict[str, dict[float, float]] = {}
        for metric in metrics:
            if metric in tags["scalars"]:
                values = [(event.step, event.value) for event in loaded.Scalars(metric)]
            elif metric in tags["tensors"]:
                values = [(event.step, float(make_ndarray(event.tensor_proto))) for event in loaded.Tensors(metric)]
            else:
                seen = ", ".join(map(repr, [*tags["scalars"], *tags["tensors"]][:30]))
                raise UsageError(f"{folder} has no scalar {metric!r}; it has {seen or 'none'}")
            found[metric] = {float(step): float(value) for step, value in values}  # a resumed run: the last counts
        inside = folder.relative_to(path) if path.is_dir() and folder != path else Path(folder.name)
        run = folder.parent.name if folder.is_file() else str(inside)
        yield run, found
