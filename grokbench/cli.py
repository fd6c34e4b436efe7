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
from typing import Any, NoReturn

from grokbench import listing
from grokbench.spec import UsageError

HELD, REFUTED, USAGE, UNDECIDED, MACHINE, INTERRUPTED = 0, 1, 2, 3, 4, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without our signs shows question marks
            stream.reconfigure(errors="replace")
    try:
        return int(options.command(options))
    except UsageError as error:
        print(f"grokbench: error: {error}", file=sys.stderr)  # noqa: T201
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return HELD


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    from grokbench.session import DEFAULT_PRESET, DEFAULT_STORE

    parser = _Parser(prog="grokbench", description=__doc__.split("\n\n")[1])
    commands = parser.add_subparsers(required=True, metavar="command")
    run = commands.add_parser("run", help="train what is missing and print the verdicts")
    run.set_defaults(command=_run)
    run.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME", help="smoke, ci or paper (default: ci)")
    many = {"action": "extend", "nargs": "+", "default": [], "metavar": "NAME"}
    run.add_argument("--task", help="only these tasks of the preset", **many)  # type: ignore[arg-type]
    run.add_argument("--softmax", help="only these softmaxes of the preset", **many)  # type: ignore[arg-type]
    run.add_argument(
        "--optimizer",
        action="append",
        default=[],
        metavar="SPEC",
        help="name or 'package.module:Attribute(key=value, …)'; repeatable, the first is the baseline",
    )
    papers = {**many, "metavar": "PAPER"}
    run.add_argument("--claims", help="all claims of these papers (default: only who is earlier)", **papers)  # type: ignore[arg-type]
    protocol = "published (default), matched or tuned: how the arms get their rates and decays"
    run.add_argument("--protocol", help=protocol, **many)  # type: ignore[arg-type]
    run.add_argument("--no-early-stop", action="store_true", help="train all replicas, and test them once")
    run.add_argument("--replicas", type=int, metavar="N", help="replicas of each arm in each cell, at the most")
    _shared(run, "verdicts, runs and provenance")
    run.add_argument("--fresh", action="store_true", help="train anew what the store has")
    run.add_argument("--strict", action="store_true", help="exit with code 3 if a claim is undecided")

    choices = commands.add_parser("list", help="what there is to choose from")
    choices.set_defaults(command=_list)
    choices.add_argument("what", choices=sorted(listing.LISTS))
    doctor = commands.add_parser("doctor", help="what machine this is, and what it can do")
    doctor.set_defaults(command=_doctor)
    compare = commands.add_parser("compare", help="benchmark results of several machines, side by side")
    compare.set_defaults(command=_compare)
    compare.add_argument("files", nargs="+", metavar="FILE", help="JSON of pytest-benchmark; the first is the baseline")
    compare.add_argument("--json", metavar="PATH", help="write the table as JSON; - for standard output")

    check = commands.add_parser("check", help="what an optimizer has to keep to, checked")
    check.set_defaults(command=_check)
    check.add_argument("optimizers", nargs="+", metavar="SPEC", help="as for run; package.module:* for all of a module")
    check.add_argument("--json", metavar="PATH", help="write the findings as JSON; - for standard output")

    judge = commands.add_parser("judge", help="verdicts on your own grok times")
    judge.set_defaults(command=_judge)
    judge.add_argument("file", metavar="FILE", help="CSV with the columns cell,arm,replica,time,event")
    judge.add_argument("--baseline", metavar="ARM", help="the arm that others are compared with (default: the first)")
    judge.add_argument("--unpaired", action="store_true", help="replicas of different arms share nothing")
    judge.add_argument("--early-stop", action="store_true", help="pairs came in one by one: anytime-valid verdicts")
    judge.add_argument("--json", metavar="PATH", help="write the verdicts as JSON; - for standard output")
    judge.add_argument("--strict", action="store_true", help="exit with code 3 if anything is undecided")

    power = commands.add_parser("power", help="how many pairs a question needs")
    power.set_defaults(command=_power)
    power.add_argument("--ratio", type=float, metavar="R", help="true time ratio (default: 0.7)")
    power.add_argument("--spread", type=float, metavar="S", help="deviation of log ratios (default: 0.4)")
    power.add_argument("--ties", type=float, default=0.0, metavar="T", help="share of tied pairs (default: 0)")
    power.add_argument("--cells", type=int, metavar="N", help="cells that are corrected for (default: 1)")
    power.add_argument("--level", type=float, default=0.05, metavar="A", help="one-sided level (default: 0.05)")
    power.add_argument("--from", dest="store", metavar="STORE", help="ratios and spreads as found in a store")
    power.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME", help="whose cells (default: ci)")

    sweep = commands.add_parser("sweep", help="the map of the grok time over rate and weight decay")
    sweep.set_defaults(command=_sweep)
    sweep.add_argument("--preset", default=DEFAULT_PRESET, metavar="NAME", help="smoke, ci or paper (default: ci)")
    sweep.add_argument("--task", default="add", metavar="NAME", help="a task of the preset (default: add)")
    sweep.add_argument("--softmax", default="softmax", metavar="NAME", help="a softmax (default: softmax)")
    sweep.add_argument("--optimizer", default="adamw", metavar="SPEC", help="as for run (default: adamw)")
    grid = "lr=0.01,0.02 weight_decay=0.1,1 (default: the preset's)"
    sweep.add_argument("--grid", nargs="+", default=[], metavar="KEY=VALUES", help=grid)
    sweep.add_argument("--replicas", type=int, metavar="N", help="replicas at each point (default: 2)")
    _shared(sweep, "the map")

    show = commands.add_parser("show", help="everything that is known of a run")
    show.set_defaults(command=_show)
    show.add_argument("run", metavar="RUN", help="the beginning of its digest, as --json gives it")
    show.add_argument(
        "--store", default=DEFAULT_STORE, metavar="PATH", help="file of finished runs (default: %(default)s)"
    )
    return parser


def _shared(parser: argparse.ArgumentParser, what: str) -> None:
    """Options of every command that trains."""
    from grokbench.session import DEFAULT_STORE

    store = {"default": DEFAULT_STORE, "metavar": "PATH"}
    parser.add_argument("--store", help="file of finished runs (default: %(default)s)", **store)  # type: ignore[arg-type]
    parser.add_argument("--json", metavar="PATH", help=f"write {what} as JSON; - for standard output")
    parser.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu or cuda (default: auto)")
    parser.add_argument("--threads", type=int, metavar="N", help="processor threads (default: torch's own choice)")


def _run(options: argparse.Namespace) -> int:
    """Drive the suite with pytest, showing the training instead of pytest's own output."""
    from rich.console import Console

    sys.path.insert(0, str(Path.cwd()))  # an optimizer's module may lie beside us, as for `python -m`
    from grokbench.protocols import PROTOCOLS
    from grokbench.report import export, summary, terminal
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
    summary.verdicts(verdicts, strict=options.strict, stream=out)
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

    compare.show(options.files, options.json)
    return HELD


def _check(options: argparse.Namespace) -> int:
    from grokbench import check

    sys.path.insert(0, str(Path.cwd()))
    return HELD if check.main(options.optimizers, options.json) else REFUTED


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
