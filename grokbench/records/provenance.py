"""What produced a record: source, versions, machine, device. Torch is imported only when a machine is described."""

from __future__ import annotations

import dataclasses
import functools
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path


@dataclass(frozen=True)
class Provenance:
    """Everything outside a run's spec that its record may depend on."""

    grokbench: str
    commit: str | None
    dirty: bool | None
    python: str
    torch: str
    platform: str
    processor: str
    device: str
    threads: int
    compiler: str | None = None  # what long runs are compiled with

    def as_dict(self) -> dict[str, object]:
        return dataclasses.asdict(self)


def version() -> str:
    return metadata.version("grokbench")


@functools.cache
def source() -> tuple[str | None, bool | None]:
    """Commit of the checkout that this package is imported from and whether it differs; Nones outside one."""
    here = Path(__file__).parents[1]

    def git(*arguments: str) -> str | None:
        command = ["git", "-C", str(here), *arguments]
        try:
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    if git("ls-files", "--error-unmatch", "session.py") is None:  # an installed copy inside someone's checkout
        return None, None
    changed = git("status", "--porcelain", "--", ".")
    return git("rev-parse", "HEAD"), None if changed is None else bool(changed)


def processor() -> str:
    """The processor's name, or the architecture where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.processor() or platform.machine()])[0]}, {os.cpu_count()} cores"


def capture(device: str, compiler: str | None = None) -> Provenance:
    """Describe this process on a torch device, 'cpu' or 'cuda', and the compiler that it would use."""
    import torch

    commit, dirty = source()
    return Provenance(
        grokbench=version(),
        commit=commit,
        dirty=dirty,
        python=sys.version.split()[0],
        torch=torch.__version__,
        platform=platform.platform(terse=True),
        processor=processor(),
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        compiler=compiler,
    )
