"""The checks in their order, and what runs them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping

import torch

from grokbench.spec import machine_failed
from grokbench.training.local import resolve_device
from grokbench.verify import bits, numbers, whole
from grokbench.verify.finding import FAILED, HOLDS, UNSEEN, FaultError, Finding, UnseenError

Check = Callable[[torch.device], str]
"""Looks at something on a device and says what it saw; raises `FaultError` or `UnseenError`."""

CHECKS: dict[str, Check] = {
    "products": numbers.products,
    "random bits": numbers.bits,
    "losses": numbers.losses,
    "Newton–Schulz": numbers.newton_schulz,
    "exact": numbers.exact,
    "in company": bits.company,
    "refilled": bits.refill,
    "packs": bits.packs,
    "threads": bits.threads,
    "processes": bits.process,
    "twice": bits.twice,
    "deterministic": bits.operations,
    "kernels": whole.kernels,
    "graphs": whole.graphs,
    "compiled": whole.compiled,
    "verdict": whole.verdict,
    "throughput": whole.throughput,
}


def verify(
    device: str = "auto",
    checks: Mapping[str, Check] | None = None,
    listener: Callable[[Finding], None] | None = None,
) -> list[Finding]:
    """Run every check on 'cpu' or 'cuda', or on CUDA where there is any; listener: told of each finding at once.

    An error in a check is a finding, too; one of the machine's is raised.
    """
    where = torch.device(resolve_device(device))
    if where.type == "cuda":  # cuBLAS asks for it in the deterministic mode, and looks once, at its first product
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    findings = []
    for name, check in (checks or CHECKS).items():
        finding = _find(name, check, where)
        findings.append(finding)
        if listener:
            listener(finding)
    return findings


def _find(name: str, check: Check, device: torch.device) -> Finding:
    began = time.perf_counter()
    try:
        status, detail = HOLDS, check(device)
    except FaultError as fault:
        status, detail = FAILED, str(fault)
    except UnseenError as unseen:
        status, detail = UNSEEN, str(unseen)
    except Exception as error:
        if machine_failed(error):
            raise
        status, detail = FAILED, f"{type(error).__name__}: {error}"
    return Finding(name, status, detail, time.perf_counter() - began)
