"""The same steps in another process, with another PYTHONHASHSEED, whose state is loaded here.

Where groups are made from a set of names, or parameters are taken from a set, their order changes from process to
process, and a checkpoint then gives a parameter the state of another. One process serves all checks; it begins when it
is first asked for, ends with this one, and imports plug-ins itself.
"""

from __future__ import annotations

import atexit
import contextlib
import copy
import functools
import io
import os
import subprocess
import sys
from typing import Any

from torch import Tensor

from grokbench.conformance.outcome import CheckOutcome, ConformanceError, NotApplicableError, Seen
from grokbench.conformance.rig import Replica, noise, same
from grokbench.spec import MachineError, OptimizerSpec, UsageError, registry
from grokbench.training import beside

STEPS = 5  # there, and then here


def processes(spec: OptimizerSpec) -> Seen:
    if spec.name in registry.BUILT_IN:
        raise NotApplicableError("built in: it has no state_dict")
    rows = noise(2 * STEPS, 1)[:, 0]
    one = Replica(spec)
    for row in rows[:STEPS]:
        one.give(row)
        one.step()
    answer = Elsewhere.asked(spec)
    if changes := answer["changes"]:
        raise ConformanceError(f"importing it changes torch's global settings: {', '.join(changes)}")
    for (name, p), there in zip(one.named, answer["weights"], strict=True):
        if not same(p.detach(), there):
            raise ConformanceError(f"in another process, {name} differs after {STEPS} steps")
    # Loaded here, its own state and the one from there; the other process is to blame only where the first goes on.
    loaded = [_stepped_on(one, state, rows[STEPS:]) for state in (one.optimizer.state_dict(), answer["state"])]
    for row in rows[STEPS:]:
        one.give(row)
        one.step()
    here, there = (again if isinstance(again, str) else one.difference(again) for again in loaded)
    if not there:
        return Seen("with another hash seed the same bits, and its state, loaded here, goes on with the same bits")
    if here:
        text = "with another hash seed the same bits; its state does not go on in one process either: see state_dict"
        return Seen(text, CheckOutcome.SAID)
    if isinstance(loaded[1], str):
        raise ConformanceError(f"a state that another process saved does not fit: {there}; {CAUSE}")
    raise ConformanceError(f"after a load of the state that another process saved, {there} differs: {CAUSE}")


def _stepped_on(one: Replica, state: dict[str, Any], rows: Tensor) -> Replica | str:
    """One like this, with a copy of this state, after these steps; or why that fails."""
    try:
        again = one.again(copy.deepcopy(state))
        for row in rows:
            again.give(row)
            again.step()
    except UsageError as error:
        return str(error)
    return again


CAUSE = "is the order of parameters taken from a set?"


class Elsewhere:
    """The other process. Asked by a pickled order of known length, it answers with one."""

    def __init__(self) -> None:
        seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        }
        command = [sys.executable, "-P", "-c", "from grokbench.conformance.elsewhere import serve; serve()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        atexit.register(self.close)

    @staticmethod
    @functools.cache
    def started() -> Elsewhere:
        """The one process, which imports torch while other checks are made."""
        return Elsewhere()

    @staticmethod
    def asked(spec: OptimizerSpec) -> dict[str, Any]:
        """What these steps give there. Raises `ConformanceError` for what the plug-in does wrong there."""
        process = Elsewhere.started()._process
        try:
            beside.send(process.stdin, (sys.path, spec))
            answer = beside.receive(process.stdout)
        except (OSError, EOFError) as error:
            Elsewhere.started.cache_clear()
            beside.end(process)
            how = beside.how(code := process.returncode)
            if code < 0:
                raise MachineError(f"the other process of `grokbench check` was ended {how}") from error
            raise ConformanceError(f"it ends another process {how}") from error
        if isinstance(answer, UsageError):
            raise ConformanceError(f"in another process, {answer}")
        return dict(answer)

    def close(self) -> None:
        beside.end(self._process)


def serve() -> None:
    """Answer orders on standard input until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = io.StringIO()  # what plug-ins print, they have printed in the other process, too
    with contextlib.suppress(KeyboardInterrupt):
        for path, spec in beside.orders():
            sys.path[:] = path
            try:
                beside.send(answers, _answer(spec))
            except UsageError as error:
                beside.send(answers, UsageError(str(error)))


def _answer(spec: OptimizerSpec) -> dict[str, Any]:
    from grokbench.numerics.frame import unchanged

    with unchanged() as changes:
        registry.load(spec.name)
    one = Replica(spec)
    for row in noise(2 * STEPS, 1)[:STEPS, 0]:
        one.give(row)
        one.step()
    return {"changes": changes, "weights": [p.detach() for p in one.parameters], "state": one.optimizer.state_dict()}
