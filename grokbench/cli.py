"""The command line of grokbench; `grokbench --help` lists its commands.

Exit codes: 0 all asserted claims hold or are undecided, 1 one is refuted, 2 usage, 3 one is undecided under --strict,
4 the machine failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from grokbench import arguments as arguments_of
from grokbench import listing
from grokbench.spec import UsageError

HELD, REFUTED, USAGE, UNDECIDED, MACHINE, INTERRUPTED = 0, 1, 2, 3, 4, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        name = f"grokbench {options.command}"
        _parser().exit(USAGE, f"{name}: error: unrecognized arguments: {' '.join(unknown)}; see {name} --help\n")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without our signs shows question marks
            stream.reconfigure(errors="replace")
    try:
        return int(_COMMANDS[options.command](options))
    except UsageError as error:
        from grokbench.report import github

        print(f"grokbench: error: {error}", file=sys.stderr)  # noqa: T201
        github.annotate([github.Note("error", f"grokbench {options.command}", str(error))], sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return HELD


def _parser() -> argparse.ArgumentParser:
    return arguments_of.parser(__doc__.split("\n\n")[1])


def _run(options: argparse.Namespace) -> int:
    """Drive the suite with pytest, showing the training instead of pytest's own output."""
    from rich.console import Console

    sys.path.insert(0, str(Path.cwd()))  # an optimizer's module may lie beside us, as for `python -m`
    from grokbench.protocols import PROTOCOLS
    from grokbench.report import export, github, summary, terminal
    from grokbench.session import Options, Session, cases

    chosen = Options(
        preset=options.preset,
        tasks=tuple(options.task),
        softmaxes=tuple(options.softmax),
        optimizers=tuple(options.optimizer),
        claims=tuple(options.claims),
        protocols=tuple(options.protocol) or PROTOCOLS[:1],
        early_stop=not options.no_early_stop,
        replicas=options.replicas,
        store=Path(options.store).absolute(),
        device=options.device,
        threads=options.threads,
    )
    selected = cases(chosen)
    if options.device != "auto":  # refuse before anything is written
        from grokbench.executor import resolve_device

        resolve_device(options.device)
    if options.json:
        export.check(options.json)
    session = Session(chosen, selected)
    try:
        watch = _Watch(terminal.Display(Console(stderr=True)))
        log, code = _pytest(_suite_arguments(options), watch)
        if watch.usage:
            raise watch.usage
        verdicts, runs = session.answers()
    finally:
        session.close()
    out = sys.stderr if options.json == "-" else sys.stdout
    out.write(terminal.text(verdicts, runs, Console(file=out).width, color=out.isatty()))
    github.annotate(summary.verdicts(verdicts, strict=options.strict), out)
    if options.json:
        export.write(options.json, verdicts, runs)
    if watch.failure or (code not in (0, 1) and not watch.interrupted):
        print(log, file=sys.stderr)  # noqa: T201
        reason = watch.failure or f"pytest ended with code {code}"
        print(f"grokbench: the machine failed: {reason}; finished runs are in the store", file=sys.stderr)  # noqa: T201
        return MACHINE
    if watch.interrupted:
        print("grokbench: interrupted; finished runs are in the store", file=sys.stderr)  # noqa: T201
        return INTERRUPTED
    return exit_code(verdicts, strict=options.strict)


def exit_code(verdicts: Sequence[Any], *, strict: bool) -> int:
    """HELD, REFUTED or UNDECIDED, by the claims that are asserted."""
    from grokbench.verdict import Status

    statuses = {v.status for v in verdicts if v.question.asserted}
    if Status.REFUTED in statuses:
        return REFUTED
    return UNDECIDED if strict and Status.INCONCLUSIVE in statuses else HELD


def _suite_arguments(options: argparse.Namespace) -> list[str]:
    """The options of `run` as options of the pytest plugin."""
    arguments = [f"--grok-preset={options.preset}", f"--grok-store={Path(options.store).absolute()}"]
    for name in ("task", "softmax", "optimizer", "claims", "protocol"):
        arguments += [f"--grok-{name}={value}" for value in getattr(options, name)]
    for name in ("replicas", "device", "threads"):
        value = getattr(options, name)
        arguments += [] if value is None else [f"--grok-{name}={value}"]
    for name in ("fresh", "strict", "no-early-stop"):
        arguments += [f"--grok-{name}"] if getattr(options, name.replace("-", "_")) else []
    return arguments


class _Watch:
    """A pytest plugin that shows the progress, and tells failures of the machine from refuted claims."""

    def __init__(self, display: Any) -> None:
        self.display = display
        self.failure: str | None = None
        self.usage: UsageError | None = None
        self.interrupted = False

    def pytest_grokbench_progress(self, progress: Any) -> None:
        self.display.update(progress)

    def pytest_keyboard_interrupt(self) -> None:  # called when a session is stopped for a failure, too
        self.interrupted = True

    def pytest_exception_interact(self, node: Any, call: Any) -> None:
        import pytest

        error = call.excinfo.value
        if isinstance(error, pytest.fail.Exception):
            return
        if isinstance(error, UsageError):
            self.usage = error
        else:
            self.failure = f"{type(error).__name__}: {error}"
        node.session.shouldstop = "the other cases would fail alike"


def _pytest(arguments: list[str], watch: _Watch) -> tuple[str, int]:
    """Run the suite, apart from the settings and plugins of the folder we are in; its output and exit code."""
    import pytest

    from grokbench import suite

    folder = str(Path(suite.__file__).parent)
    fixed = ["-c", os.devnull, f"--rootdir={folder}", "-p", "grokbench.plugin", "-p", "no:cacheprovider", "-s", folder]
    log = io.StringIO()
    with (
        # This process tells GitHub; the plugin inside need not.
        _environment(
            PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
            PYTEST_ADDOPTS="",
            PYTEST_PLUGINS="",
            GITHUB_ACTIONS="",
            GITHUB_STEP_SUMMARY="",
        ),
        contextlib.redirect_stdout(log),
    ):
        try:
            code = int(pytest.main([*fixed, *arguments], plugins=[watch]))
        finally:
            watch.display.close()
    return log.getvalue(), code


@contextlib.contextmanager
def _environment(**values: str) -> Any:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, lines in rows:
        first, *rest = lines.split("\n")
        sys.stdout.write(f"{name:<{width}}  {first}\n")
        sys.stdout.writelines(f"{'':<{width}}  {line}\n" for line in rest)


def _list(options: argparse.Namespace) -> int:
    _print_rows(listing.LISTS[options.what]())
    return HELD


def _doctor(options: argparse.Namespace) -> int:
    from grokbench import doctor

    _print_rows(doctor.findings())
    return HELD


def _compare(options: argparse.Namespace) -> int:
    from grokbench import compare

    compare.show(options.files, options.json, unlike=options.unlike)
    return HELD


def _check(options: argparse.Namespace) -> int:
    from grokbench import check

    sys.path.insert(0, str(Path.cwd()))
    return HELD if check.main(options.optimizers, options.json) else REFUTED


def _request(options: argparse.Namespace, **more: Any) -> Any:
    from grokbench.gate import Request

    sys.path.insert(0, str(Path.cwd()))
    given = {
        "preset": options.preset,
        "tasks": tuple(options.task),
        "softmaxes": tuple(options.softmax),
        "budget": options.budget,
        "store": Path(options.store).absolute(),
        "device": options.device,
        "threads": options.threads,
        **more,
    }
    return Request(**{name: value for name, value in given.items() if value is not None})


def _gate(options: argparse.Namespace) -> int:
    import time

    from grokbench.gate import report
    from grokbench.gate.decision import Outcome

    request = _request(
        options,
        baseline=options.baseline,
        candidate=options.candidate,
        margin=options.margin,
        level=options.level,
        max_pairs=options.max_pairs,
        candidate_path=Path(options.candidate_path) if options.candidate_path else None,
        since=time.time() if options.fresh else 0.0,
    )
    result = report.main(request, options.json)
    if result.outcome is Outcome.REGRESSION:
        return REFUTED
    return UNDECIDED if options.strict and not result.passed else HELD


def _baseline(options: argparse.Namespace) -> int:
    from grokbench.gate import report

    report.save(options.file, options.optimizer, _request(options, baseline="", candidate=""), options.pairs)
    return HELD


def _perf(options: argparse.Namespace) -> int:
    from grokbench.perf import Request, report

    sys.path.insert(0, str(Path.cwd()))
    if not options.candidate and not options.self_test:
        raise UsageError("perf needs --candidate, or --self-test")
    names = ("preset", "replicas", "seconds", "margin", "device", "threads")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    if options.candidate_path:
        given["candidate_path"] = Path(options.candidate_path)
    if options.floor is not None:
        given["floor"] = options.floor * 1e-6
    request = Request(options.baseline, options.candidate or options.baseline, **given)
    return HELD if report.main(request, options.json, test=options.self_test) else REFUTED


def _judge(options: argparse.Namespace) -> int:
    from grokbench import judge

    verdicts = judge.main(options.file, options.baseline, options.unpaired, options.early_stop, options.json)
    return exit_code(verdicts, strict=options.strict)


def _power(options: argparse.Namespace) -> int:
    from grokbench.report import needs

    needs.main(options)
    return HELD


def _sweep(options: argparse.Namespace) -> int:
    from grokbench import sweep

    sys.path.insert(0, str(Path.cwd()))
    sweep.main(options)
    return HELD


def _show(options: argparse.Namespace) -> int:
    from grokbench import show

    show.main(Path(options.store), options.run)
    return HELD


_COMMANDS = {
    "baseline": _baseline,
    "check": _check,
    "compare": _compare,
    "doctor": _doctor,
    "gate": _gate,
    "judge": _judge,
    "list": _list,
    "perf": _perf,
    "power": _power,
    "run": _run,
    "show": _show,
    "sweep": _sweep,
}
