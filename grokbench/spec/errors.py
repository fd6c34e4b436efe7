"""The two errors that are not of grokbench: the user's and the machine's, and the checks that raise the first."""

from __future__ import annotations

import difflib
import sqlite3


class UsageError(ValueError):
    """What the user gave cannot be used. The text is one whole sentence; the command line exits with code 2."""


class MachineError(Exception):
    """The machine, or a file on it, failed: nothing is known of any claim. The command line exits with code 4."""


NO_MEMORY = (
    "DefaultCPUAllocator",
    "std::bad_alloc",
    "ALLOC_FAILED",
    "out of memory",
    "MemoryError",
    "Cannot allocate memory",
    "failed to map segment",
)


def machine_failed(error: BaseException) -> bool:
    """Whether an error is the machine's: of a file, the memory, a database or a device."""
    kinds = MachineError | OSError | sqlite3.Error | MemoryError
    lost = type(error).__name__ == "AcceleratorError"  # torch's own, of a device
    return isinstance(error, kinds) or lost or out_of_memory(error)


def out_of_memory(error: BaseException) -> bool:
    """Whether the machine had no memory left, on a device or, for which torch has no class, on the processor."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    torchs = isinstance(error, RuntimeError | ImportError)  # while it computes, compiles or is loaded
    return torchs and any(sign in str(error) for sign in NO_MEMORY)


def choose(kind: str, name: str, choices: tuple[str, ...]) -> str:
    """Return `name` if it is one of `choices`, else raise `UsageError` that lists them."""
    if name not in choices:
        near = difflib.get_close_matches(name, choices, 1)
        meant = f"; is {near[0]!r} meant?" if near else ""
        raise UsageError(f"unknown {kind} {name!r}: choose from {', '.join(choices)}{meant}")
    return name


def require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(message)


def whole(kind: str, value: object, least: int) -> None:
    valid = isinstance(value, int) and not isinstance(value, bool) and value >= least
    require(valid, f"{kind} must be a whole number of at least {least}, not {value!r}")
