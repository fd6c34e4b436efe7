"""What a notebook or a script calls: the questions of the command line, as functions.

They train what the store does not have, in the same way, and answer with objects that `print` and notebooks show.
Nothing is printed but a progress bar, and that only in a terminal or a notebook. What is wrong with a request raises
`UsageError`; a failure of the machine raises `MachineError`. Ctrl-C leaves what is finished in the store.
"""

from __future__ import annotations

import contextlib
import inspect
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grokbench import options
from grokbench.claims import presets
from grokbench.records.store import Record, Store
from grokbench.spec import MachineError, RunSpec, UsageError, choose, machine_failed, registry
from grokbench.spec.registry import Named

if TYPE_CHECKING:
    from grokbench.report.answers import Answer, CheckAnswer, GateAnswer, JudgedAnswer, RaceAnswer

Names = str | Iterable[str]


def preset(name: str) -> presets.Preset:
    """The preset of this name; its `run` makes runs. Raises `UsageError` that lists the names."""
    return presets.get(name)


def compare(
    baseline: Named,
    *candidates: Named,
    preset: str = options.DEFAULT_PRESET,
    tasks: Names = (),
    softmaxes: Names = (),
    protocol: str = options.DEFAULT_PROTOCOL,
    replicas: int | None = None,
    budget: int | None = None,
    early_stop: bool = True,
    family: str = options.FAMILIES[0],
    store: str | Path = options.DEFAULT_STORE,
    device: str = "auto",
    threads: int | None = None,
    fresh: bool = False,
) -> Answer:
    """Does a candidate grok earlier than the baseline? `grokbench run` asks the same.

    An optimizer is a text (`"muon(lr=0.02)"`), a class or function of your own, or what `grokbench.optimizer` makes.
    tasks, softmaxes: of the preset, all if empty. replicas: pairs in a cell, at the most. budget: epochs of a run, if
    not the preset's. early_stop: stop a cell once
    it is decided. family: correct over all cells of the preset, or over those that are `"selected"`. fresh: train anew
    what the store has.
    """
    from grokbench.report.answers import Answer
    from grokbench.session import Session, cases

    asked = options.Options(
        preset=preset,
        tasks=_names(tasks),
        softmaxes=_names(softmaxes),
        optimizers=tuple(registry.text(optimizer) for optimizer in (baseline, *candidates)),
        protocols=(protocol,),
        replicas=replicas,
        budget=budget,
        early_stop=early_stop,
        family=family,
        store=Path(store).absolute(),
        device=device,
        threads=threads,
        since=time.time() if fresh else 0.0,
    )
    with _failing(), _watching() as listener, Session(asked, cases(asked), listener=listener) as session:
        session.train()
        return Answer(*session.answers())


def judge(source: Any, baseline: str | None = None, **asked: Any) -> JudgedAnswer:
    """Which arm is earlier, by times of your own? `grokbench judge` asks the same, and trains nothing.

    source: a path, an open file, a DataFrame of pandas or polars, or what `grokbench.times` has found. It has a row for
    each run, with the columns arm, replica and time; see `grokbench guide your-times`. baseline: the first arm, if
    None. asked: further arguments of `grokbench.verdicts.table.judge`: budget, every, value, better, target, paired,
    sequential, family and blocks.
    """
    from grokbench.report.answers import JudgedAnswer
    from grokbench.verdicts import curves, table

    for name in asked:
        choose("argument", name, tuple(inspect.signature(table.judge).parameters)[2:])
    rows = source.rows if isinstance(source, curves.Times) else source
    with _failing():
        return JudgedAnswer(table.judge(rows, baseline, **asked))


def train(
    runs: Iterable[RunSpec],
    *,
    store: str | Path = options.DEFAULT_STORE,
    device: str = "auto",
    threads: int | None = None,
    fresh: bool = False,
) -> list[Record]:
    """The records of these runs, in their order, trained first where the store has none."""
    from grokbench.training.trainer import Trainer

    wanted = list(runs)
    since = time.time() if fresh else 0.0
    with (
        _failing(),
        _watching() as listener,
        Store(Path(store).absolute(), write=None) as opened,
        Trainer(opened, device, threads, since=since, listener=listener) as trainer,
    ):
        records = trainer.train(wanted) if wanted else {}
    return [records[run.digest] for run in wanted]


def gate(baseline: Named | Path, candidate: Named, **request: Any) -> GateAnswer:
    """Is the candidate no later than the baseline, by more than a margin? `grokbench gate` asks the same.

    baseline: an optimizer, a store, or a file that `grokbench baseline save` has written. request: further fields of
    `grokbench.gates.Request`, such as preset, tasks, budget, margin and store.
    """
    from grokbench import gates
    from grokbench.report.answers import GateAnswer

    first = str(baseline) if isinstance(baseline, Path) else registry.text(baseline)
    asked = _request(gates.Request, baseline=first, candidate=registry.text(candidate), **request)
    with _failing(), _watching() as listener:
        return GateAnswer(gates.run(asked, listener))


def race(baseline: Named, candidate: Named, **request: Any) -> RaceAnswer:
    """Are the candidate's steps slower than the baseline's? `grokbench perf` asks the same.

    request: further fields of `grokbench.perf.Request`, such as preset, replicas, seconds and margin.
    """
    from grokbench import perf
    from grokbench.report.answers import RaceAnswer

    texts = {"baseline": registry.text(baseline), "candidate": registry.text(candidate)}
    with _failing():
        return RaceAnswer(perf.run(_request(perf.Request, **texts, **request)))


def check(optimizer: Named) -> CheckAnswer:
    """Does an optimizer keep to what every optimizer has to keep to? `grokbench check` asks the same."""
    from grokbench.conformance import conformance
    from grokbench.report.answers import CheckAnswer

    text = registry.text(optimizer)
    with _failing():
        return CheckAnswer(text, list(conformance(registry.parse(text))))


def _names(names: Names) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _request(kind: Any, **fields: Any) -> Any:
    """A request with these fields. Raises `UsageError` for one that it does not have."""
    for name in fields:
        choose("argument", name, tuple(kind.__dataclass_fields__))
    for name in ("tasks", "softmaxes"):
        if name in fields:
            fields[name] = _names(fields[name])
    if "store" in fields:
        fields["store"] = Path(fields["store"]).absolute()
    return kind(**fields)


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    """Raise a failure of the machine as `MachineError`, as the command line counts it."""
    try:
        yield
    except (UsageError, MachineError):
        raise
    except Exception as error:
        if machine_failed(error):
            raise MachineError(f"{type(error).__name__}: {error}") from error
        raise


def _watching() -> Any:
    from grokbench.report import progress

    return progress.watching(quiet=True)


__all__: Sequence[str] = ("check", "compare", "gate", "judge", "preset", "race", "train")
