"""The pytest plugin (entry point `pytest11`): options, a marker, a fixture and a terminal summary.

Importing it imports pytest and the standard library alone, and nothing is trained unless cases of
`grokbench.suite`, or cases with the marker `grok`, are run.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from grokbench.executor import Progress
    from grokbench.session import Case, Options, Session
    from grokbench.verdict import Verdict

_OPTIONS: dict[str, dict[str, Any]] = {
    "--grok-preset": {"metavar": "NAME", "help": "smoke, ci or paper (default: ci)"},
    "--grok-task": {"metavar": "NAME", "action": "append", "help": "only this task of the preset (repeatable)"},
    "--grok-softmax": {"metavar": "NAME", "action": "append", "help": "only this softmax (repeatable)"},
    "--grok-optimizer": {
        "metavar": "SPEC",
        "action": "append",
        "help": "name or package.module:Attribute(key=value, …); repeatable, the first is the baseline",
    },
    "--grok-claims": {"metavar": "PAPER", "action": "append", "help": "all claims of this paper (repeatable)"},
    "--grok-protocol": {
        "metavar": "NAME",
        "action": "append",
        "help": "published, matched or tuned (repeatable; default: published)",
    },
    "--grok-no-early-stop": {"action": "store_true", "default": None, "help": "train all replicas, and test them once"},
    "--grok-replicas": {"metavar": "N", "type": int, "help": "replicas of each arm in each cell, at the most"},
    "--grok-store": {"metavar": "PATH", "help": "file of finished runs (default: grokbench.sqlite)"},
    "--grok-device": {"metavar": "DEVICE", "help": "auto, cpu or cuda (default: auto)"},
    "--grok-threads": {"metavar": "N", "type": int, "help": "processor threads (default: torch's own choice)"},
    "--grok-fresh": {"action": "store_true", "default": None, "help": "train anew what the store has"},
    "--grok-strict": {"action": "store_true", "default": None, "help": "fail on undecided claims, not skip"},
    "--grok-json": {"metavar": "PATH", "help": "write verdicts, runs and provenance as JSON"},
}

_SESSION = pytest.StashKey["Session"]()
_CASES = pytest.StashKey["dict[str, Case]"]()
_SEEN = pytest.StashKey["set[str]"]()


class Hooks:
    """Hooks that grokbench calls."""

    @pytest.hookspec
    def pytest_grokbench_progress(self, progress: Progress) -> None:
        """Called after every epoch that is trained in this process."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("grokbench", "grokbench: claims about optimizers, decided with significance")
    for name, settings in _OPTIONS.items():
        group.addoption(name, **{"default": None, **settings})


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "grok: a case of grokbench, that is, a test with the argument grok_case")
    given = [name for name in _OPTIONS if config.getoption(name) is not None]
    if not given:
        return
    if config.getoption("--grok-fresh") and not hasattr(config.option, "grok_since"):
        config.option.grok_since = time.time()  # xdist hands the options to its workers
    from grokbench.spec import UsageError

    try:
        _cases(config)
        if not hasattr(config, "workerinput"):
            _check(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _check(config: pytest.Config) -> None:
    """Refuse what cannot work before anything is trained."""
    from grokbench.report import export
    from grokbench.store import Store

    options = _options(config)
    if options.device != "auto":
        from grokbench.executor import resolve_device

        resolve_device(options.device)
    if path := config.getoption("--grok-json"):
        export.check(path)
    if not config.option.collectonly:
        Store(options.store).close()


def _options(config: pytest.Config) -> Options:
    from grokbench.protocols import PROTOCOLS
    from grokbench.session import DEFAULT_PRESET, DEFAULT_STORE, Options

    threads = config.getoption("--grok-threads")
    workers = getattr(config, "workerinput", {}).get("workercount")
    if threads is None and workers:
        threads = max(1, (os.cpu_count() or 1) // int(workers))
    return Options(
        preset=config.getoption("--grok-preset") or DEFAULT_PRESET,
        tasks=tuple(config.getoption("--grok-task") or ()),
        softmaxes=tuple(config.getoption("--grok-softmax") or ()),
        optimizers=tuple(config.getoption("--grok-optimizer") or ()),
        claims=tuple(config.getoption("--grok-claims") or ()),
        protocols=tuple(config.getoption("--grok-protocol") or PROTOCOLS[:1]),
        early_stop=not config.getoption("--grok-no-early-stop"),
        replicas=config.getoption("--grok-replicas"),
        store=Path(config.invocation_params.dir, config.getoption("--grok-store") or DEFAULT_STORE),
        device=config.getoption("--grok-device") or "auto",
        threads=threads,
        since=getattr(config.option, "grok_since", 0.0),
    )


def _cases(config: pytest.Config) -> dict[str, Case]:
    from grokbench.session import cases

    if _CASES not in config.stash:
        config.stash[_CASES] = {case.id: case for case in cases(_options(config))}
    return config.stash[_CASES]


def _case(item: pytest.Item) -> Case | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("grok_case") if callspec else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test with the argument `grok_case` every case that the options ask for."""
    if "grok_case" in metafunc.fixturenames:
        cases = _cases(metafunc.config).values()
        params = [pytest.param(case, id=case.id, marks=pytest.mark.grok) for case in cases]
        metafunc.parametrize("grok_case", params)


def _session(config: pytest.Config, selected: list[Case]) -> Session:
    if _SESSION not in config.stash:
        from grokbench.session import Session
        from grokbench.spec import UsageError

        try:
            config.stash[_SESSION] = Session(
                _options(config),
                selected,
                share=hasattr(config, "workerinput"),
                listener=lambda progress: config.hook.pytest_grokbench_progress(progress=progress),
            )
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None
    return config.stash[_SESSION]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Every run that the selected cases need is known from here on."""
    selected = [case for case in map(_case, session.items) if case]
    if selected and not session.config.option.collectonly:
        _session(session.config, selected)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any, ids: list[str]) -> None:
    """The controller of xdist collects nothing itself; learn from its workers what was selected."""
    node.config.stash.setdefault(_SEEN, set()).update(ids)


@pytest.fixture(scope="session")
def grok(pytestconfig: pytest.Config) -> Session:
    """The session that answers cases: `grok.verdict(case)` trains what the case needs and judges it."""
    if _SESSION not in pytestconfig.stash:
        raise pytest.UsageError("the fixture grok answers tests that take grok_case, and there is none")
    return pytestconfig.stash[_SESSION]


@pytest.fixture
def grok_verdict(grok: Session, grok_case: Case, request: pytest.FixtureRequest) -> Verdict:
    """The verdict of the present case; also properties of the test in JUnit reports."""
    verdict = grok.verdict(grok_case)
    properties = {"status": verdict.status.value, "pairs": verdict.pairs, "p": verdict.p}
    if verdict.ratio is not None:
        properties["ratio"] = verdict.ratio
    request.node.user_properties += [(f"grok_{name}", value) for name, value in properties.items()]
    return verdict


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    session = config.stash.get(_SESSION, None)
    seen: set[str] = config.stash.get(_SEEN, set())
    if session is None and any("[" in test for test in seen):
        tests = "\n".join(seen)
        cases = _cases(config).items()
        selected = [case for name, case in cases if re.search(rf"[\[-]{re.escape(name)}[\]-]", tests)]
        session = _session(config, selected) if selected else None
    if session is None:
        return
    from grokbench.report import export, terminal

    verdicts, runs = session.answers()
    terminalreporter.section("grokbench")
    terminalreporter.write(terminal.text(verdicts, runs, config.get_terminal_writer().fullwidth))
    if path := config.getoption("--grok-json"):
        export.write(path, verdicts, runs)


def pytest_unconfigure(config: pytest.Config) -> None:
    if session := config.stash.get(_SESSION, None):
        session.close()
