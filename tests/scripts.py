"""Scripts as modules, for tests of what they compute."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def load(script: str | Path) -> ModuleType:
    """The script in this file, imported; one of benchmarks/studies/ by its name alone."""
    path = Path(__file__).parents[1] / "benchmarks" / "studies" / f"{script}.py" if isinstance(script, str) else script
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
