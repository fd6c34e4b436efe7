"""Triton's interpreter in a third of its time, for a process that does nothing else with Triton.

It renames the whole language at each call of a function, although it stays renamed, and does every sum and product of
integers again in 64 bits to see whether it overflows. Both are left out here. That reaches into Triton's inside, so
where the inside is another one, the interpreter stays as slow as it was.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


def hasten() -> None:
    """Make the interpreter of this process faster."""
    from triton.runtime import interpreter

    patch, builder = getattr(interpreter, "_patch_lang", None), getattr(interpreter, "interpreter_builder", None)
    if patch is None or builder is None or not hasattr(interpreter, "_LangPatchScope"):
        return
    done: set[int] = set()

    def once(function: Any) -> Any:
        module = id(function.__globals__)
        if module not in done:
            done.add(module)
            patch(function)  # and never take it back
        return interpreter._LangPatchScope()

    interpreter._patch_lang = once
    builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)
