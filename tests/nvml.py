"""A library like nvidia-ml-py, for hosts without a driver."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class GoneError(Exception):
    """What the library raises."""


def library(**answers: Callable[..., Any]) -> SimpleNamespace:
    """One that answers these questions, by their names without `nvml`, and no others."""

    def missing(*arguments: Any) -> Any:
        raise GoneError

    names = ("SystemGetDriverVersion", "DeviceGetClockInfo", "DeviceGetMaxClockInfo", "DeviceGetPowerUsage")
    names += ("DeviceGetTemperature", "DeviceGetPersistenceMode", "DeviceGetEccMode", "Init", "Shutdown")
    names += ("DeviceGetCurrentClocksThrottleReasons", "DeviceGetHandleByUUID")
    made = {f"nvml{name}": answers.get(name, missing) for name in names}
    return SimpleNamespace(NVMLError=GoneError, NVML_CLOCK_SM=1, NVML_CLOCK_MEM=2, NVML_TEMPERATURE_GPU=0, **made)
