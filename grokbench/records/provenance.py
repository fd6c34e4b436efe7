"""What produced a record: source, versions, machine, device. Torch is imported only when a machine is described."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

VERSION = "0.2.0"  # here, since a checkout that is only on PYTHONPATH has no metadata
PACKAGE = Path(__file__).parents[1]
# Variables by which a user changes how torch and the libraries below it compute.
ARITHMETIC = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NVIDIA_TF32_OVERRIDE",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)


@dataclass(frozen=True)
class Provenance:
    """Everything outside a run's spec that its record may depend on.

    compiler: what the run was compiled with, or its modules were stacked with; in records without an arithmetic, what a
    long run would have been compiled with.
    arithmetic: see the function of that name; None in records from before it was kept.
    """

    grokbench: str
    commit: str | None
    dirty: bool | None
    python: str
    torch: str
    platform: str
    processor: str
    device: str
    threads: int
    compiler: str | None = None
    arithmetic: str | None = None

    @property
    def rounding(self) -> tuple[str | None, ...] | None:
        """What decides how its results are rounded; None where too little was kept to tell."""
        return None if self.arithmetic is None else (self.torch, self.device, self.arithmetic, self.compiler)

    def unlike(self, other: Provenance) -> bool:
        """Whether the two are known to round otherwise."""
        return None not in (self.rounding, other.rounding) and self.rounding != other.rounding

    def as_dict(self) -> dict[str, object]:
        return dataclasses.asdict(self)


@functools.cache
def source() -> tuple[str | None, bool | None]:
    """Commit that this package is from and whether it differs; Nones where nobody knows.

    It is the checkout's that the package is imported from, else the one that pip installed from git.
    """
    if _git("ls-files", "--error-unmatch", "session.py") is None:  # perhaps an installed copy in someone's checkout
        commit = _installed_commit()
        return commit, None if commit is None else False
    changed = _git("status", "--porcelain", "--", ".")
    return _git("rev-parse", "HEAD"), None if changed is None else bool(changed)


def _git(*arguments: str) -> str | None:
    """What git says of this package's folder; None if it says nothing.

    In a container the checkout often belongs to another user. Its code is running already, so git may trust it. In a
    hook, git's variables name another repository.
    """
    command = ["git", "-c", "safe.directory=*", "--no-optional-locks", "-C", str(PACKAGE), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _installed_commit() -> str | None:
    """The commit in pip's note of where this package came from: https://peps.python.org/pep-0610/."""
    try:
        installed = metadata.distribution("grokbench")
        if Path(str(installed.locate_file("grokbench"))).resolve() != PACKAGE.resolve():
            return None  # another copy than this one
        commit = json.loads(installed.read_text("direct_url.json") or "{}")["vcs_info"]["commit_id"]
    except (metadata.PackageNotFoundError, OSError, ValueError, KeyError, TypeError):
        return None
    return str(commit)


def processor() -> str:
    """The processor's name, or the architecture where the system does not tell."""
    return f"{_told('model name') or platform.processor() or platform.machine()}, {os.cpu_count()} cores"


def _told(name: str) -> str | None:
    """What Linux says of the first processor under this name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def arithmetic(device: str) -> str:
    """What decides how this process rounds on a device, besides torch's version and a GPU's name.

    The instruction set and the maker of the processor, by which libraries choose their code, and the variables that
    change it.
    """
    import torch

    own = [torch.backends.cpu.get_cpu_capability(), platform.machine(), _told("vendor_id")] if device == "cpu" else []
    variables = [f"{name}={os.environ[name]}" for name in ARITHMETIC if os.environ.get(name)]
    return ", ".join([*filter(None, own), *variables])


def capture(device: str, compiler: str | None = None) -> Provenance:
    """Describe this process on a torch device, 'cpu' or 'cuda'. compiler: what its steps are compiled with."""
    import torch

    commit, dirty = source()
    return Provenance(
        grokbench=VERSION,
        commit=commit,
        dirty=dirty,
        python=sys.version.split()[0],
        torch=torch.__version__,
        platform=platform.platform(terse=True),
        processor=processor(),
        device=torch.cuda.get_device_name() if device == "cuda" else "cpu",
        threads=torch.get_num_threads(),
        compiler=compiler,
        arithmetic=arithmetic(device),
    )
