"""An optimizer from another source tree, in a process of its own, where its name means that tree's."""

from __future__ import annotations

import importlib
import multiprocessing
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from grokbench.optim import registry
from grokbench.spec import OptimizerSpec, RunSpec, UsageError


class Checkout:
    """A process that imports from `folder` first, and not from the present one; with None, as this process does."""

    def __init__(self, folder: Path | None) -> None:
        if folder and not folder.is_dir():
            raise UsageError(f"there is no folder {folder} to import the candidate from")
        self._folder = folder and folder.resolve()
        here = {"", str(Path.cwd())} if folder else set[str]()
        paths = [str(self._folder)] * bool(folder) + [path for path in sys.path if path not in here]
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, _enter, (paths,))

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(cancel_futures=True)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns or raises there; it has to be one of a module."""
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise RuntimeError("a process of an optimizer has ended") from error

    def parse(self, text: str, presets: Mapping[str, str]) -> OptimizerSpec:
        """What the text means there. Raises `UsageError` if it does not come from the folder."""
        found: OptimizerSpec = self.call(parse, text, dict(presets), self._folder)
        return found

    def golden(self, runs: Sequence[RunSpec], device: str, epochs: int) -> Any:
        """As `golden.golden`."""
        return self.call(_golden, list(runs), device, epochs)

    def train(self, runs: Sequence[RunSpec], store: Path, device: str, threads: int | None, since: float) -> None:
        """Train what the store does not have."""
        self.call(_train, list(runs), store, device, threads, since)


def _enter(paths: list[str]) -> None:
    sys.path[:] = paths


def parse(text: str, presets: dict[str, str], folder: Path | None) -> OptimizerSpec:
    """What the text means in this process. Raises `UsageError` if it does not come from the folder, if one is given."""
    spec = registry.parse(text, presets)
    if folder is None:
        return spec
    if spec.name in registry.BUILT_IN:
        raise UsageError(f"{spec.name} is built in: --candidate-path is for optimizers of your own")
    module = importlib.import_module(registry.target(spec.name).partition(":")[0])
    file = Path(module.__file__ or "")
    if not file.resolve().is_relative_to(folder):
        raise UsageError(f"{text!r} is imported from {file}, not from {folder}")
    return spec


def _golden(runs: list[RunSpec], device: str, epochs: int) -> Any:
    from grokbench.gate.golden import golden

    return golden(runs, device, epochs)


def _train(runs: list[RunSpec], path: Path, device: str, threads: int | None, since: float) -> None:
    from grokbench.store import Store
    from grokbench.trainer import Trainer

    store = Store(path)
    trainer = Trainer(store, device, threads, since=since)
    try:
        trainer.train(runs)
    finally:
        trainer.close()
        store.close()
