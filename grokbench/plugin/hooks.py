"""The pytest plugin (entry point `pytest11`): what it adds to a session, when cases are made, and the summary.

Importing it imports pytest and the standard library alone, and nothing is trained unless cases of
`grokbench.suite`, or cases with the marker `grok`, are run.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from grokbench.options import BY_NAME, OPTIONS, settings
from grokbench.plugin.asked import FAILED, SESSION, alone, case_of, cases_of, checks, options_of, session_of
from grokbench.plugin.collection import pytest_collect_file as pytest_collect_file
from grokbench.plugin.collection import pytest_pycollect_makemodule as pytest_pycollect_makemodule
from grokbench.plugin.collection import warn_of_lost_root
from grokbench.plugin.fixtures import GROK, NOTE
from grokbench.plugin.fixtures import grok as grok
from grokbench.plugin.fixtures import grok_finding as grok_finding
from grokbench.plugin.fixtures import grok_gate as grok_gate
from grokbench.plugin.fixtures import grok_perf as grok_perf
from grokbench.plugin.fixtures import grok_verdict as grok_verdict
from grokbench.plugin.xdist import CASES, SEEN
from grokbench.plugin.xdist import pytest_load_initial_conftests as pytest_load_initial_conftests
from grokbench.plugin.xdist import pytest_testnodedown as pytest_testnodedown
from grokbench.plugin.xdist import pytest_xdist_auto_num_workers as pytest_xdist_auto_num_workers

if TYPE_CHECKING:
    from grokbench.report.github import Note
    from grokbench.report.terminal import Runs
    from grokbench.session import Session
    from grokbench.training.local import Progress
    from grokbench.verdicts.verdict import Verdict

    Answers = tuple[list[Verdict], Runs]


PACKAGE = Path(__file__).parents[1]
ANSWERS = pytest.StashKey["Answers"]()
UNTOLD = pytest.StashKey[str]()  # why there are no answers, or no files of them


class Hooks:
    """Hooks that grokbench calls."""

    @pytest.hookspec
    def pytest_grokbench_progress(self, progress: Progress) -> None:
        """Called after every epoch that is trained in this process, and now and then while it waits for others."""


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(Hooks)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("grokbench", "grokbench: claims about optimizers, decided with significance")
    for option in OPTIONS:
        group.addoption(f"--grok-{option.name}", **settings(option, repeated=True))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "grok: a case of grokbench, that is, a test with the argument grok_case or grok_finding"
    )
    given = [name for name in BY_NAME if config.getoption(f"--grok-{name}") is not None]
    if not given:
        return
    ours = not hasattr(config, "workerinput")
    if ours:
        warn_of_lost_root(config)
    # An optimizer's module may lie in the folder that we are in, as for the command line.
    sys.path.insert(0, str(config.invocation_params.dir))
    if config.getoption("--grok-fresh") and not hasattr(config.option, "grok_since"):
        config.option.grok_since = time.time()  # xdist hands the options to its workers
    from grokbench.spec import UsageError

    try:
        if ours and not config.option.collectonly:  # an older file would tell of another run, whatever comes now
            from grokbench.report import formats

            formats.prepared(_given(config))
        if alone(config):
            checks(config)
        else:
            cases_of(config)
            if ours:
                _check(config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


def _check(config: pytest.Config) -> None:
    """Refuse what cannot work before anything is trained."""
    from grokbench.records.store import Store
    from grokbench.spec import MachineError

    options = options_of(config)
    if options.device != "auto":
        from grokbench.training.local import resolve_device

        resolve_device(options.device)
    if config.option.collectonly:
        return
    with contextlib.suppress(MachineError):  # every case meets it, and is an error
        Store(options.store, write=None).close()


def pytest_report_collectionfinish(config: pytest.Config, items: list[pytest.Item]) -> list[str]:
    """What is about to be asked: a preset that nobody chose may take very long."""
    count = sum(item.get_closest_marker("grok") is not None for item in items)
    if not count or alone(config):
        return []
    options = options_of(config)
    return [
        f"grokbench: {count} case{'s' * (count != 1)} of the preset {options.preset}, runs are kept in {options.store}"
    ]


def _given(config: pytest.Config) -> Callable[[str], str | None]:
    """What an option was given, by its name."""
    return lambda name: config.getoption(f"--grok-{name}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failure of the machine is an error of the test, never its failure, also where the test itself asked us."""
    report = yield
    if report.failed and call.when == "call" and call.excinfo and GROK.intersection(getattr(item, "fixturenames", ())):
        from grokbench.spec import machine_failed

        # A file that the test itself does not find is its own affair.
        ours = any(PACKAGE in entry.path.parents for entry in call.excinfo.traceback if isinstance(entry.path, Path))
        if ours and machine_failed(call.excinfo.value):
            report.when = "setup"  # what fails there is an error, for pytest, JUnit and xdist alike
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test with `grok_case` every case that the options ask for, one with `grok_finding` every check."""
    from grokbench.spec import UsageError

    try:
        if "grok_case" in metafunc.fixturenames:
            cases = cases_of(metafunc.config).values()
            params = [pytest.param(case, id=case.id, marks=pytest.mark.grok) for case in cases]
            metafunc.parametrize("grok_case", params)
        if "grok_finding" in metafunc.fixturenames:
            asked = checks(metafunc.config)
            params = [pytest.param(c, id=f"{c[0]}-{c[1].replace(' ', '_')}", marks=pytest.mark.grok) for c in asked]
            metafunc.parametrize("grok_finding", params, indirect=True)
    except UsageError as error:
        raise pytest.Collector.CollectError(str(error)) from None


def pytest_collection_finish(session: pytest.Session) -> None:
    """Every run that the selected cases need is known from here on."""
    selected = [case for case in map(case_of, session.items) if case]
    if selected and not session.config.option.collectonly:
        from grokbench.spec import machine_failed

        try:
            session_of(session.config, selected)
        except Exception as error:
            if not machine_failed(error):
                raise
            session.config.stash[FAILED] = error


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells what it ran; the controller, or the only process, writes what was asked for as JSON."""
    config = session.config
    if hasattr(config, "workerinput"):
        found = config.stash.get(SESSION, None)
        told = [case.id for case in found.selected] if found else []
        config.workeroutput[CASES] = told  # type: ignore[attr-defined]  # xdist's
        return
    from grokbench.spec import machine_failed

    try:
        _answer(config)
    except Exception as error:
        if not machine_failed(error):
            raise
        config.stash[UNTOLD] = f"the machine failed: {type(error).__name__}: {error}"
        if session.exitstatus == pytest.ExitCode.OK:  # or a bot would look for a JSON that is not there
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        if not config.pluginmanager.hasplugin("terminalreporter"):
            sys.stderr.write(f"grokbench: {config.stash[UNTOLD]}\n")


def _answer(config: pytest.Config) -> None:
    """Judge all cases, once, and write what was asked for."""
    if found := _answering(config):
        from grokbench.report import formats

        config.stash[ANSWERS] = found.answers()
        formats.write(formats.asked(_given(config)), *config.stash[ANSWERS])


def _answering(config: pytest.Config) -> Session | None:
    """The session that has the answers: ours, or one over what the workers ran; None if no case was asked for."""
    seen = config.stash.get(SEEN, {})
    if SESSION not in config.stash and seen and not alone(config):
        cases = cases_of(config)
        return session_of(config, [cases[name] for name in cases if name in seen])
    return config.stash.get(SESSION, None)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    notes = [*_told(terminalreporter), *_summarise(terminalreporter, config)]
    if notes:
        from grokbench.report import github

        github.annotate(notes, terminalreporter)


def _summarise(terminalreporter: Any, config: pytest.Config) -> list[Note]:
    """Print the verdicts of all cases; what is to be annotated."""
    answers, failure = config.stash.get(ANSWERS, None), config.stash.get(UNTOLD, None)
    if answers or failure:
        terminalreporter.section("grokbench")
    if failure:
        terminalreporter.write_line(failure, red=True)
    if answers is None:
        return []
    from grokbench.report import signs, summary, terminal

    verdicts, runs = answers
    writer = config.get_terminal_writer()
    terminalreporter.write(signs.fitted(terminal.text(verdicts, runs, writer.fullwidth), writer._file))
    return summary.verdicts(verdicts, strict=bool(config.getoption("--grok-strict")))


def _told(terminalreporter: Any) -> list[Note]:
    """What is to be annotated of findings, gates and races in all workers, as the reports of their tests hold it."""
    reports = [r for group in terminalreporter.stats.values() for r in group if getattr(r, "when", "") == "call"]
    properties = [p for r in reports for p in r.user_properties]
    found = [own for r in reports if "grok_check" in (own := dict(r.user_properties))]
    if not found and not any(name == NOTE for name, _ in properties):
        return []
    from grokbench.report import summary
    from grokbench.report.github import Note

    notes = [Note(*value) for name, value in properties if name == NOTE]
    if found:
        notes += summary.findings([tuple(own[f"grok_{name}"] for name in summary.FINDING) for own in found])
    return notes


def pytest_unconfigure(config: pytest.Config) -> None:
    if session := config.stash.get(SESSION, None):
        session.close()
