"""The pytest plugin (entry point `pytest11`): options, a marker, a fixture and a terminal summary.

Importing it imports pytest and the standard library alone, and nothing is trained unless cases of
`grokbench.suite`, or cases with the marker `grok`, are run.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from grokbench.conformance import Finding
    from grokbench.gate import Result as GateResult
    from grokbench.perf import Result as PerfResult
    from grokbench.report.github import Note
    from grokbench.session import Case, Options, Session
    from grokbench.training.local import Progress
    from grokbench.verdicts.verdict import Verdict

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
    "--grok-threads": {"metavar": "N", "type": int, "help": "processes of one thread each (default: the cores)"},
    "--grok-fresh": {"action": "store_true", "default": None, "help": "train anew what the store has"},
    "--grok-strict": {"action": "store_true", "default": None, "help": "fail on undecided claims, not skip"},
    "--grok-json": {"metavar": "PATH", "help": "write verdicts, runs and provenance as JSON"},
}

_DESTINATIONS = tuple(name.removeprefix("--").replace("-", "_") for name in _OPTIONS)
_NOTE = "grok_note"  # property of a test that is to be annotated: level, title, text
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


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Give each worker of xdist one GPU, before anything imports torch."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and _may_use_gpus(early_config):
        from grokbench.training import devices

        devices.take(worker)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """`-n auto` means a worker for each GPU, where there are any."""
    if not _may_use_gpus(config):
        return None
    from grokbench.training import devices

    return len(devices.visible()) or None


def _may_use_gpus(config: pytest.Config) -> bool:
    """Whether this session is one of grokbench, by its options or arguments, and is not bound to the processor."""
    given = vars(config.known_args_namespace)
    ours = any(given.get(name) is not None for name in _DESTINATIONS)
    ours |= any("grokbench.suite" in str(path) for path in given.get("file_or_dir") or ())
    return ours and given.get("grok_device") in (None, "auto", "cuda")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "grok: a case of grokbench, that is, a test with the argument grok_case or grok_finding"
    )
    given = [name for name in _OPTIONS if config.getoption(name) is not None]
    if not given:
        return
    sys.path.insert(
        0, str(config.invocation_params.dir)
    )  # an optimizer's module may lie there, as for the command line
    if config.getoption("--grok-fresh") and not hasattr(config.option, "grok_since"):
        config.option.grok_since = time.time()  # xdist hands the options to its workers
    from grokbench.spec import UsageError

    try:
        if _alone(config):
            _checks(config)
        else:
            _cases(config)
            if not hasattr(config, "workerinput"):
                _check(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _alone(config: pytest.Config) -> bool:
    """Whether one optimizer is given: enough for its conformance, and too few for a comparison."""
    return len(config.getoption("--grok-optimizer") or ()) == 1


def _checks(config: pytest.Config) -> list[tuple[str, str]]:
    """Every given optimizer, or every built-in one, with every check. Raises `UsageError` for unknown ones."""
    from grokbench.conformance import CHECKS
    from grokbench.spec import registry

    texts = config.getoption("--grok-optimizer") or list(registry.BUILT_IN)
    for text in texts:
        registry.parse(text)
    return [(text, check) for text in texts for check in CHECKS]


def _check(config: pytest.Config) -> None:
    """Refuse what cannot work before anything is trained."""
    from grokbench.records import files
    from grokbench.records.store import Store

    options = _options(config)
    if options.device != "auto":
        from grokbench.training.local import resolve_device

        resolve_device(options.device)
    if path := config.getoption("--grok-json"):
        files.check(path)
    if not config.option.collectonly:
        Store(options.store).close()


def _options(config: pytest.Config) -> Options:
    from grokbench.claims.protocols import PROTOCOLS
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
    """Give a test with `grok_case` every case that the options ask for, one with `grok_finding` every check."""
    from grokbench.spec import UsageError

    try:
        if "grok_case" in metafunc.fixturenames:
            cases = _cases(metafunc.config).values()
            params = [pytest.param(case, id=case.id, marks=pytest.mark.grok) for case in cases]
            metafunc.parametrize("grok_case", params)
        if "grok_finding" in metafunc.fixturenames:
            asked = _checks(metafunc.config)
            params = [pytest.param(c, id=f"{c[0]}-{c[1].replace(' ', '_')}", marks=pytest.mark.grok) for c in asked]
            metafunc.parametrize("grok_finding", params, indirect=True)
    except UsageError as error:
        raise pytest.Collector.CollectError(str(error)) from None


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
    properties = {
        "claim": verdict.claim,
        "cell": str(verdict.cell or "pooled"),
        "status": verdict.status.value,
        "reason": verdict.reason,
        "pairs": verdict.pairs,
        "p": verdict.p,
        "ratio": verdict.ratio,
        "interval": verdict.interval and "{:.4g} {:.4g}".format(*verdict.interval),
        "sustained_ratio": verdict.sustained,
    }
    properties = {name: value for name, value in properties.items() if value is not None}
    request.node.user_properties += [(f"grok_{name}", value) for name, value in properties.items()]
    return verdict


@pytest.fixture
def grok_finding(request: pytest.FixtureRequest) -> Finding:
    """What one check found of one optimizer; also properties of the test in JUnit reports."""
    from grokbench.conformance import examine
    from grokbench.spec import registry

    text, check = request.param
    finding = examine(registry.parse(text), check)
    properties = {"optimizer": text, "check": check, "outcome": finding.outcome.value, "text": finding.text}
    request.node.user_properties += [(f"grok_{name}", value) for name, value in properties.items()]
    return finding


@pytest.fixture
def grok_gate(request: pytest.FixtureRequest) -> Callable[..., GateResult]:
    """`grok_gate(baseline=…, candidate=…, …)` asks a gate, with the fields of `grokbench.gate.Request`.

    What it says is also a property of the test in JUnit reports.
    """
    from grokbench import gate
    from grokbench.report import gate as report

    def ask(**asked: Any) -> GateResult:
        options = _options(request.config)
        shared = {"store": options.store, "device": options.device, "threads": options.threads}
        result: GateResult = _asked(gate.Request, gate.run, {**shared, **asked})
        found = {"outcome": result.outcome.value, "reason": result.reason, "identical": result.identical}
        request.node.user_properties += [(f"grok_gate_{name}", value) for name, value in found.items()]
        request.node.user_properties += [(_NOTE, tuple(note)) for note in report.publish(result)]
        return result

    return ask


@pytest.fixture
def grok_perf(request: pytest.FixtureRequest) -> Callable[..., PerfResult]:
    """`grok_perf(baseline=…, candidate=…, …)` races two optimizers, with the fields of `grokbench.perf.Request`."""
    from grokbench import perf
    from grokbench.report import perf as report

    def ask(**asked: Any) -> PerfResult:
        options = _options(request.config)
        shared = {"device": options.device, "threads": options.threads}
        result: PerfResult = _asked(perf.Request, perf.run, {**shared, **asked})
        for timing in result.timings:
            figures = f"{timing.verdict} {timing.race.ratio:.3f}"
            request.node.user_properties.append((f"grok_perf_{timing.name.replace(' ', '_')}", figures))
        request.node.user_properties += [(_NOTE, tuple(note)) for note in report.publish(result)]
        return result

    return ask


def _asked(make: Callable[..., Any], answer: Callable[[Any], Any], fields: dict[str, Any]) -> Any:
    """The answer; what cannot be asked fails the test without a traceback through grokbench."""
    from grokbench.spec import UsageError, choose

    try:
        for name in fields:
            choose("argument", name, tuple(make.__dataclass_fields__))  # type: ignore[attr-defined]
        return answer(make(**fields))
    except UsageError as error:
        reason = str(error)
    pytest.fail(reason, pytrace=False)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    notes = [*_told(terminalreporter), *_summarise(terminalreporter, config)]
    if notes:
        from grokbench.report import github

        github.annotate(notes, terminalreporter)


def _summarise(terminalreporter: Any, config: pytest.Config) -> list[Note]:
    """Print the verdicts of all cases; what is to be annotated."""
    session = config.stash.get(_SESSION, None)
    seen: set[str] = config.stash.get(_SEEN, set())
    if session is None and any("[" in test for test in seen) and not _alone(config):
        tests = "\n".join(seen)
        cases = _cases(config).items()
        selected = [case for name, case in cases if re.search(rf"[\[-]{re.escape(name)}[\]-]", tests)]
        session = _session(config, selected) if selected else None
    if session is None:
        return []
    from grokbench.report import export, summary, terminal

    verdicts, runs = session.answers()
    terminalreporter.section("grokbench")
    terminalreporter.write(terminal.text(verdicts, runs, config.get_terminal_writer().fullwidth))
    if path := config.getoption("--grok-json"):
        export.write(path, verdicts, runs)
    return summary.verdicts(verdicts, strict=bool(config.getoption("--grok-strict")))


def _told(terminalreporter: Any) -> list[Note]:
    """What is to be annotated of findings, gates and races in all workers, as the reports of their tests hold it."""
    reports = [r for group in terminalreporter.stats.values() for r in group if getattr(r, "when", "") == "call"]
    properties = [p for r in reports for p in r.user_properties]
    found = [own for r in reports if "grok_check" in (own := dict(r.user_properties))]
    if not found and not any(name == _NOTE for name, _ in properties):
        return []
    from grokbench.report import summary
    from grokbench.report.github import Note

    notes = [Note(*value) for name, value in properties if name == _NOTE]
    if found:
        notes += summary.findings([tuple(own[f"grok_{name}"] for name in summary.FINDING) for own in found])
    return notes


def pytest_unconfigure(config: pytest.Config) -> None:
    if session := config.stash.get(_SESSION, None):
        session.close()
