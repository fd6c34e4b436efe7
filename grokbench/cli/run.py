"""`grokbench run`: train what is missing and print the verdicts."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from pathlib import Path
from typing import Any

from grokbench.cli.common import INTERRUPTED, MACHINE, MANY, exit_code, import_from_here, output, training_options
from grokbench.spec import UsageError


def add(commands: Any) -> None:
    """The command's parser."""
    from grokbench.session import DEFAULT_PRESET

    parser = commands.add_parser("run", help="train what is missing and print the verdicts")
    parser.set_defaults(action=run)
    parser.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME", help="smoke, ci or paper (default: ci)")
    parser.add_argument("--task", help="only these tasks of the preset", **MANY)
    parser.add_argument("--softmax", help="only these softmaxes of the preset", **MANY)
    parser.add_argument(
        "--optimizer",
        action="append",
        default=[],
        metavar="SPEC",
        help="name or 'package.module:Attribute(key=value, …)'; repeatable, the first is the baseline",
    )
    papers = {**MANY, "metavar": "PAPER"}
    parser.add_argument("--claims", help="all claims of these papers (default: only who is earlier)", **papers)
    protocol = "published (default), matched or tuned: how the arms get their rates and decays"
    parser.add_argument("--protocol", help=protocol, **MANY)
    parser.add_argument("--no-early-stop", action="store_true", help="train all replicas, and test them once")
    parser.add_argument("--replicas", type=int, metavar="N", help="replicas of each arm in each cell, at the most")
    training_options(parser, "verdicts, runs and provenance")
    parser.add_argument("--fresh", action="store_true", help="train anew what the store has")
    parser.add_argument("--strict", action="store_true", help="exit with code 3 if a claim is undecided")


def run(options: argparse.Namespace) -> int:
    """Drive the suite with pytest, showing the training instead of pytest's own output."""
    from rich.console import Console

    import_from_here()
    from grokbench.claims.protocols import PROTOCOLS
    from grokbench.records import files
    from grokbench.report import export, github, progress, summary, terminal
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
        from grokbench.training.local import resolve_device

        resolve_device(options.device)
    if options.json:
        files.check(options.json)
    session = Session(chosen, selected)
    try:
        watch = _Watch(progress.Display(Console(stderr=True)))
        log, code = _pytest(_suite_arguments(options), watch)
        if watch.usage:
            raise watch.usage
        verdicts, runs = session.answers()
    finally:
        session.close()
    out = output(options.json)
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
    fixed = [
        "-c",
        os.devnull,
        f"--rootdir={folder}",
        "-p",
        "grokbench.plugin.hooks",
        "-p",
        "no:cacheprovider",
        "-s",
        folder,
    ]
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
