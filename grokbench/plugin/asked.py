"""What one pytest session asks grokbench: its options, cases and checks, and the session that answers them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from grokbench.options import Options, chosen

if TYPE_CHECKING:
    from grokbench.session import Case, Session

SESSION = pytest.StashKey["Session"]()
CASES = pytest.StashKey["dict[str, Case]"]()
FAILED = pytest.StashKey[Exception]()  # how the machine failed before there was a session, so each case tells it


def alone(config: pytest.Config) -> bool:
    """Whether one optimizer is given: enough for its conformance, and too few for a comparison."""
    return len(config.getoption("--grok-optimizer") or ()) == 1


def checks(config: pytest.Config) -> list[tuple[str, str]]:
    """Every given optimizer, or every built-in one, with every check. Raises `UsageError` for unknown ones."""
    from grokbench.conformance import CHECKS, kinds
    from grokbench.spec import registry

    others = {kind: config.getoption(f"--grok-{kind}") or () for kind in kinds.KINDS}
    others["model"] = [others["model"]] if others["model"] else []
    if any(others.values()) and not config.getoption("--grok-optimizer"):
        return [
            (f"{kind} {text}", check) for kind in kinds.KINDS for text in others[kind] for check in kinds.KINDS[kind]
        ]
    texts = config.getoption("--grok-optimizer") or list(registry.BUILT_IN)
    for text in texts:
        registry.parse(text)
    return [(text, check) for text in texts for check in CHECKS]


def options_of(config: pytest.Config) -> Options:
    workers = getattr(config, "workerinput", {}).get("workercount")
    found = chosen(lambda name: config.getoption(f"--grok-{name}"), since=getattr(config.option, "grok_since", 0.0))
    if found.threads is None and workers:
        from grokbench.training import cores

        found = replace(found, threads=max(1, cores.count() // int(workers)))
    return replace(found, store=Path(config.invocation_params.dir, found.store))


def cases_of(config: pytest.Config) -> dict[str, Case]:
    from grokbench.session import cases

    if CASES not in config.stash:
        config.stash[CASES] = {case.id: case for case in cases(options_of(config))}
    return config.stash[CASES]


def case_of(item: pytest.Item) -> Case | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("grok_case") if callspec else None


def session_of(config: pytest.Config, selected: list[Case]) -> Session:
    if SESSION not in config.stash:
        from grokbench.session import Session
        from grokbench.spec import UsageError

        try:
            config.stash[SESSION] = Session(
                options_of(config),
                selected,
                divided=hasattr(config, "workerinput"),
                listener=lambda progress: config.hook.pytest_grokbench_progress(progress=progress),
            )
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[SESSION]
