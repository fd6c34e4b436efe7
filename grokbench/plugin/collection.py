"""What pytest collects: the suite, whatever names the user's own tests have, from the folder that the user is in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SUITE = Path(__file__).parents[1] / "suite"


class SuiteModule(pytest.Module):
    """Cases by our names, not by the user's python_functions and python_classes."""

    def funcnamefilter(self, name: str) -> bool:
        return name.startswith("test_")

    def classnamefilter(self, name: str) -> bool:
        return False


def _ours(path: Path) -> bool:
    return path.parent.name == SUITE.name and path.parent.resolve() == SUITE.resolve()


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Any:
    """The user's python_files do not hide the suite."""
    found = yield
    if not found and file_path.match("test_*.py") and _ours(file_path):
        found = [SuiteModule.from_parent(parent, path=file_path)]
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return SuiteModule.from_parent(parent, path=module_path) if _ours(module_path) else None


def warn_of_lost_root(config: pytest.Config) -> None:
    """Say that pytest took an option's value for a path of tests, and so lost the folder that we are in.

    It looks for its root folder and its ini file before it knows the options of plugins, so `--grok-store PATH` looks
    like an option without a value, and a path.
    """
    here, ini = config.invocation_params.dir, config.inipath
    if config.rootpath == here or (ini and ini.parent in (here, *here.parents)):
        return
    for option, value in _apart(config.invocation_params.args):
        if (here / value).exists():
            message = (
                f"pytest took {value}, the value of {option}, for a path of tests, so its root folder is "
                f"{config.rootpath} and no ini file of {here} is read; write {option}={value}"
            )
            config.issue_config_time_warning(pytest.PytestConfigWarning(message), stacklevel=2)


def _apart(arguments: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Our options and their values that stand apart."""
    for option, value in itertools.pairwise(arguments):
        if option.startswith("--grok-") and "=" not in option and not value.startswith("-"):
            yield option, value
