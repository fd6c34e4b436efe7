"""The command line: `grokbench run`, `grokbench list`, `grokbench doctor`, `grokbench compare`.

Exit codes: 0 all claims hold or are undecided, 1 one is refuted, 2 usage, 3 one is undecided under --strict,
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

from grokbench.spec import SOFTMAXES, TRAIN_SHARE, UsageError

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


def _parser() -> argparse.ArgumentParser:
    from grokbench.session import DEFAULT_PRESET, DEFAULT_STORE

    parser = argparse.ArgumentParser(prog="grokbench", description=__doc__.split("\n\n")[1])
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
    run.add_argument("--replicas", type=int, metavar="N", help="replicas of each arm in each cell")
    run.add_argument(
        "--store", default=DEFAULT_STORE, metavar="PATH", help="file of finished runs (default: %(default)s)"
    )
    run.add_argument(
        "--json", metavar="PATH", help="write verdicts, runs and provenance as JSON; - for standard output"
    )
    run.add_argument("--device", default="auto", metavar="DEVICE", help="auto, cpu or cuda (default: auto)")
    run.add_argument("--threads", type=int, metavar="N", help="processor threads (default: torch's own choice)")
    run.add_argument("--fresh", action="store_true", help="train anew what the store has")
    run.add_argument("--strict", action="store_true", help="exit with code 3 if a claim is undecided")

    listing = commands.add_parser("list", help="what there is to choose from")
    listing.set_defaults(command=_list)
    listing.add_argument("what", choices=sorted(_LISTS))
    doctor = commands.add_parser("doctor", help="what machine this is, and what it can do")
    doctor.set_defaults(command=_doctor)
    compare = commands.add_parser("compare", help="benchmark results of several machines, side by side")
    compare.set_defaults(command=_compare)
    compare.add_argument("files", nargs="+", metavar="FILE", help="JSON of pytest-benchmark; the first is the baseline")
    compare.add_argument("--json", metavar="PATH", help="write the table as JSON; - for standard output")
    return parser


def _run(options: argparse.Namespace) -> int:
    """Drive the suite with pytest, showing the training instead of pytest's own output."""
    from rich.console import Console

    sys.path.insert(0, str(Path.cwd()))  # an optimizer's module may lie beside us, as for `python -m`
    from grokbench.report import export, terminal
    from grokbench.session import Options, Session, cases

    chosen = Options(
        preset=options.preset,
        tasks=tuple(options.task),
        softmaxes=tuple(options.softmax),
        optimizers=tuple(options.optimizer),
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
    """HELD, REFUTED or UNDECIDED."""
    from grokbench.verdict import Status

    statuses = {v.status for v in verdicts}
    if Status.REFUTED in statuses:
        return REFUTED
    return UNDECIDED if strict and Status.INCONCLUSIVE in statuses else HELD


def _suite_arguments(options: argparse.Namespace) -> list[str]:
    """The options of `run` as options of the pytest plugin."""
    arguments = [f"--grok-preset={options.preset}", f"--grok-store={Path(options.store).absolute()}"]
    for name in ("task", "softmax", "optimizer"):
        arguments += [f"--grok-{name}={value}" for value in getattr(options, name)]
    for name in ("replicas", "device", "threads"):
        value = getattr(options, name)
        arguments += [] if value is None else [f"--grok-{name}={value}"]
    for name in ("fresh", "strict"):
        arguments += [f"--grok-{name}"] if getattr(options, name) else []
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
        _environment(PYTEST_DISABLE_PLUGIN_AUTOLOAD="1", PYTEST_ADDOPTS="", PYTEST_PLUGINS=""),
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


def _list_tasks() -> list[tuple[str, str]]:
    from grokbench.spec import task

    def describe(name: str) -> str:
        spec = task(name)
        size = f"parity of {spec.bits} bits" if name == "parity" else f"mod p; {spec.rows} rows at p = {spec.modulus}"
        return f"{size}; {TRAIN_SHARE[name]:.0%} for training"

    return [(name, describe(name)) for name in TRAIN_SHARE]


def _list_softmaxes() -> list[tuple[str, str]]:
    formula = {
        "softmax": "exp(z) over its sum; cross-entropy",
        "stablemax": "s(z) over its sum, s = z + 1 or 1/(1 − z) below zero; cross-entropy",
        "sparsemax": "projection of z on the simplex; Fenchel–Young loss",
    }
    return [(name, formula[name]) for name in SOFTMAXES]


def _list_optimizers() -> list[tuple[str, str]]:
    from grokbench.optim import registry

    rows = []
    for name in registry.names():
        built_in = registry.BUILT_IN.get(name)
        rows.append((name, f"{built_in.summary}\n{registry.parse(name)}" if built_in else "registered by a package"))
    return [*rows, ("package.module:Attribute(lr=…)", "any torch.optim.Optimizer, or a factory of one")]


def _list_presets() -> list[tuple[str, str]]:
    from grokbench.presets import PRESETS

    return [
        (p.name, f"{p.summary}; cells: {len(p.tasks) * len(p.softmaxes)}, replicas: {p.replicas}, "
         f"budget: {p.criterion.budget} epochs\n" + "\n".join(p.optimizers.values()))
        for p in PRESETS.values()
    ]  # fmt: skip


def _list_claims() -> list[tuple[str, str]]:
    from grokbench.session import Options, cases

    claims = dict.fromkeys(case.claim for case in cases(Options()))
    return [(c.name, f"{c.statement}, in each of {len(c.cells)} cells and pooled ({c.source})") for c in claims]


_LISTS = {
    "tasks": _list_tasks,
    "softmaxes": _list_softmaxes,
    "optimizers": _list_optimizers,
    "presets": _list_presets,
    "claims": _list_claims,
}


def _print_rows(rows: Sequence[tuple[str, str]]) -> None:
    width = max(len(name) for name, _ in rows)
    for name, lines in rows:
        first, *rest = lines.split("\n")
        sys.stdout.write(f"{name:<{width}}  {first}\n")
        sys.stdout.writelines(f"{'':<{width}}  {line}\n" for line in rest)


def _list(options: argparse.Namespace) -> int:
    _print_rows(_LISTS[options.what]())
    return HELD


def _doctor(options: argparse.Namespace) -> int:
    from grokbench import doctor

    _print_rows(doctor.findings())
    return HELD


def _compare(options: argparse.Namespace) -> int:
    from grokbench import compare

    compare.show(options.files, options.json)
    return HELD
