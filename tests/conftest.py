"""Fixtures that several test files share."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

# The models here are tiny. More threads gain nothing, and waiting threads cost much where tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("COLUMNS", None)  # of the terminal that the tests were started in; workers of xdist have one

# Its plugin imports it in every session, so also in those of pytester, which forgets what was not there before.
import hypothesis  # noqa: F401
import pytest
import tiny as tiny_preset
import torch
from ensembles import DEVICES
from filelock import FileLock
from pretend_cuda import PretendedCuda

from grokbench import cli
from grokbench.claims import presets


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """The processor, a pretended GPU, and a real one."""
    if request.param == "pretended":
        with PretendedCuda():
            yield torch.device("cuda")
    else:
        yield torch.device(request.param)


@pytest.fixture(scope="session")
def registered() -> None:
    """Modules of torch that register operators have been imported, which can be done only once."""
    for name in ("torch.distributed._functional_collectives", "torch._inductor.test_operators", "torch._dynamo"):
        importlib.import_module(name)


@pytest.fixture
def pytester(registered: None, pytester: pytest.Pytester) -> pytest.Pytester:
    """Pytester, which forgets all modules that are imported while it is there."""
    return pytester


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> presets.Preset:
    """The preset `tiny`, known by name in this process."""
    monkeypatch.setitem(presets.PRESETS, "tiny", tiny_preset.PRESET)
    return tiny_preset.PRESET


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the 48 runs that the preset `tiny` asks for: `sgd` and `muon` in each of its cells."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent  # so that one process trains for all
    store = shared / "trained.sqlite"
    with FileLock(store.with_suffix(".lock")), pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "tiny", tiny_preset.PRESET)
        assert cli.main(["run", "--preset=tiny", "--no-early-stop", f"--store={store}"]) == 0
    return store


MINE = """
import torch
from helper import SIGN
class Mine(torch.optim.Optimizer):
    def __init__(self, params, lr=0.5):
        super().__init__(params, dict(lr=lr))
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.data.add_(p.grad, alpha=SIGN * group["lr"])
"""


@pytest.fixture
def trees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The present folder with an optimizer `mine:Mine`, and beside it `same`, `broken` and `empty`."""
    for folder, sign in (("here", -1), ("same", -1), ("broken", 0.0)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "mine.py").write_text(MINE)
        (tmp_path / folder / "helper.py").write_text(f"SIGN = {sign}\n")
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "test_" not in Path(path).name])
    for module in ("mine", "helper"):
        monkeypatch.delitem(sys.modules, module, raising=False)
