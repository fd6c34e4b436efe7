"""An optimizer from another source tree, in a process of its own, where its name means that tree's."""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from grokbench.spec import MachineError, OptimizerSpec, RunSpec, UsageError, machine_failed, registry
from grokbench.training import beside


class Checkout:
    """A process that imports from `folder` first, and not from the present one; with None, as this process does.

    It is a fresh interpreter that runs nothing of this one's main module.
    """

    def __init__(self, folder: Path | None) -> None:
        if folder and not folder.is_dir():
            raise UsageError(f"there is no folder {folder} to import the candidate from")
        self._folder = folder and folder.resolve()
        here = {"", str(Path.cwd())} if folder else set[str]()
        paths = [str(self._folder)] * bool(folder) + [path for path in sys.path if path not in here]
        command = [sys.executable, "-P", "-c", "from grokbench.training.checkout import serve; serve()"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def close(self) -> None:
        """End the process; it gives its leases back."""
        beside.end(self._process)

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns or raises there; it has to be one of a module.

        Raises `MachineError` if the machine failed there, or the process ended.
        """
        process = self._process
        try:
            beside.send(process.stdin, (function, arguments))
            raised, value = beside.receive(process.stdout)
        except (BrokenPipeError, EOFError) as error:
            self.close()
            of = f"from {self._folder}" if self._folder else "in a process of its own"
            raise MachineError(f"the optimizer {of} ended {beside.how(process.returncode)}") from error
        if raised:
            raise value
        return value

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


def serve() -> None:
    """What the process does: call what it is sent, until its standard input ends. Its output goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(KeyboardInterrupt):
        for function, arguments in beside.orders():
            try:
                answer = False, function(*arguments)
            except Exception as error:
                answer = True, _portable(error)
            beside.send(answers, answer)


def _portable(error: Exception) -> Exception:
    """An error that means the same in another process, which may not have its class."""
    if isinstance(error, UsageError | MachineError):
        return error
    kind = MachineError if machine_failed(error) else RuntimeError
    return kind(f"{type(error).__name__}: {error}")


def parse(text: str, presets: dict[str, str], folder: Path | None) -> OptimizerSpec:
    """What the text means in this process. Raises `UsageError` if it does not come from the folder, if one is given."""
    spec = registry.parse(text, presets)
    if folder is None:
        return spec
    if spec.name in registry.BUILT_IN:
        raise UsageError(f"{spec.name} is built in: --candidate-path is for optimizers of your own")
    module = importlib.import_module(registry.target(spec.name).partition(":")[0])
    if not _inside(module, folder):
        raise UsageError(f"{text!r} is imported from {module.__file__}, not from {folder}")
    for name, other in list(sys.modules.items()):
        there = folder / name.replace(".", "/")
        if (there.is_dir() or there.with_suffix(".py").is_file()) and not _inside(other, folder):
            raise UsageError(f"{text!r} imports {name} from {getattr(other, '__file__', None)}, not from {folder}")
    return spec


def _inside(module: Any, folder: Path) -> bool:
    places = [getattr(module, "__file__", None) or "", *getattr(module, "__path__", ())]
    return any(place and Path(place).resolve().is_relative_to(folder) for place in places)


def _golden(runs: list[RunSpec], device: str, epochs: int) -> Any:
    from grokbench.training.golden import golden

    return golden(runs, device, epochs)


def _train(runs: list[RunSpec], path: Path, device: str, threads: int | None, since: float) -> None:
    from grokbench.records.store import Store
    from grokbench.training.trainer import Trainer

    with Store(path, write=None) as store, Trainer(store, device, threads, since=since) as trainer:
        trainer.train(runs)
