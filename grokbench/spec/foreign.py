"""Foreign code may not end the process: `os._exit(0)` would be exit code 0, which is that of an answer."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import NoReturn

from grokbench.spec.errors import UsageError, out_of_memory


@contextlib.contextmanager
def no_exit() -> Iterator[None]:
    """Inside, `os._exit` raises `SystemExit`, as `sys.exit` does, so that it is met where foreign code is called.

    That holds for this thread of this process alone: a forked child still ends, and other threads end the process.
    """
    end, here = os._exit, (os.getpid(), threading.get_ident())

    def refuse(status: int) -> NoReturn:
        if (os.getpid(), threading.get_ident()) == here:
            raise SystemExit(f"it called os._exit({status})")
        end(status)

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = end


def imported(module: str, wanted: str) -> ModuleType:
    """The module of this name. Raises `UsageError`, which says what was wanted, for all that can go wrong in it.

    No memory is not its affair, and passes unchanged.
    """
    try:
        with no_exit():
            return importlib.import_module(module)
    except (Exception, SystemExit) as error:
        if out_of_memory(error):
            raise
        file = module.endswith(".py") or "/" in module or os.sep in module
        hint = "; name a module, not a file: 'mine:Mine' is the class Mine in mine.py" * file
        raise UsageError(f"cannot import {wanted}: {type(error).__name__}: {error}{hint}") from error
