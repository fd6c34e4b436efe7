"""Claims of one's own module: a function of the `Setup` that returns them, a list of them, or one."""

from __future__ import annotations

from grokbench.claims.claim import Audit, Claim, Setup
from grokbench.spec import UsageError, plugins
from grokbench.spec.plugins import CLAIM


def claims(text: str, setup: Setup) -> list[Claim | Audit]:
    """The claims that this name stands for. Raises `UsageError` for what is none."""
    name, given = plugins.split(CLAIM, text)
    made = plugins.load(CLAIM, name)
    if callable(made):
        with plugins.blamed(CLAIM, text, "failed"):
            made = made(setup, **given)
    found = [made] if isinstance(made, Claim | Audit) else made
    if not isinstance(found, list | tuple) or not all(isinstance(claim, Claim | Audit) for claim in found):
        raise UsageError(f"the claim {text} is {made!r:.60}, not a Claim or a list of them")
    return list(found)
