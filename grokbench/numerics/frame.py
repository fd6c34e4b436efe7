"""The frame that training runs in: torch's global numerics, set for the engine and restored afterwards.

On a processor an ensemble computes in one thread; several cores are used by several processes. With more threads, a
product of one replica can be divided otherwise than that of seven, which on some processors rounds otherwise, and
element-wise functions round otherwise at the ends of a thread's share. What the engine relies on in one thread is
tested operation by operation, on every machine that runs the tests.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch

Setting = tuple[Callable[[], Any], Callable[[Any], object]]
"""How one of torch's global settings is read, and how it is set."""


def _matmul_tf32() -> bool:
    return bool(torch.backends.cuda.matmul.allow_tf32)


def _set_matmul_tf32(value: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = value


def _cudnn_tf32() -> bool:
    return bool(torch.backends.cudnn.allow_tf32)


def _set_cudnn_tf32(value: bool) -> None:
    torch.backends.cudnn.allow_tf32 = value


def _set_anomalies(value: bool) -> None:
    with warnings.catch_warnings():  # that it is slow
        warnings.simplefilter("ignore", UserWarning)
        torch.autograd.set_detect_anomaly(value)


SETTINGS: dict[str, Setting] = {
    "threads": (torch.get_num_threads, torch.set_num_threads),
    "gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
    "dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "device": (torch.get_default_device, torch.set_default_device),
    "precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "TF32 in products": (_matmul_tf32, _set_matmul_tf32),
    "TF32 in cuDNN": (_cudnn_tf32, _set_cudnn_tf32),
    "deterministic": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "anomaly mode": (torch.is_anomaly_enabled, _set_anomalies),
}
"""The settings that can change a run's numbers, by name."""

OURS: dict[str, Any] = {
    "threads": 1,
    "gradients": True,
    "dtype": torch.float32,
    "device": torch.device("cpu"),
    "precision": "highest",
    "TF32 in products": False,
    "TF32 in cuDNN": False,
    "deterministic": False,  # an error for what has no such form; the engine's own operations need none
    "anomaly mode": False,  # an error for a gradient that is not finite: a run that diverges is a result
}


def state() -> dict[str, Any]:
    """The present value of each setting."""
    return {name: read() for name, (read, _) in SETTINGS.items()}


@contextlib.contextmanager
def numerics(threads: int = 1) -> Iterator[None]:
    """Torch's global numerics as the engine needs them; restored at the end, whatever was done to them inside."""
    before = state()
    _set({**OURS, "threads": threads})
    try:
        yield
    finally:
        _set(before)


@contextlib.contextmanager
def unchanged() -> Iterator[list[str]]:
    """Put back what is changed of these settings inside. Gives a list that afterwards says what it was."""
    changes: list[str] = []
    before = state()
    try:
        yield changes
    finally:
        after = state()
        changes += [f"{name} from {old} to {after[name]}" for name, old in before.items() if after[name] != old]
        if changes:
            _set(before)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """While it is entered, the engine raises `RuntimeError` at an operation that torch has in no deterministic form."""
    before, OURS["deterministic"] = OURS["deterministic"], True
    try:
        yield
    finally:
        OURS["deterministic"] = before


def _set(wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        read, write = SETTINGS[name]
        if read() != value:
            write(value)
